"""Where records become verdicts.

In come the frame of a record set and the claims of `paper_figures/claims.yaml`. `comparison` pairs two methods by
task and seed, `criteria` measures what a claim asks for, `claims` says whether it holds, fails or is undecided, and
why.

Imports `statistics`, `records` and `base`.
"""
