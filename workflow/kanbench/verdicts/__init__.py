"""Where records become verdicts.

In come the frame of a record set and the claims of `paper_figures/claims.yaml` (`declared`). `comparison` pairs two
methods by task and seed, `criteria` measures what a claim asks for, `references` says which dense form it is compared
with, `evidence` what counts as one independent value. `paired` and `bounded` say whether a claim holds, fails or is
undecided, and why; `claims` does so for all, and `outcome` is the row that comes out. Of two record sets `agreement`
says whether one repeats the other, and `same_verdicts` whether they come to the same verdicts.

Imports `statistics`, `records` and `base`.
"""
