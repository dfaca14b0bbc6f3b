"""Records: the evidence. One run, one record; a plan's records, one record set.

In comes what a run found out (`record` writes and checks it, `provenance` says which code, data and machine made it).
`collect` gathers, packs and merges record sets; out goes `frame`, a table with one row a run, from which everything
that is shown is computed. `symbolic_runs` reads the rows of one analysis.

Imports `base`.
"""
