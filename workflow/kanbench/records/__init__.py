"""Records: the evidence. One run, one record; a plan's records, one record set.

In comes what a run found out (`record` seals and writes it, `check` refuses what is none, `provenance` says which code
and machine made it). `survey` tells which runs of a plan are done; `collect` gathers record sets, `archive` moves them
between machines, `bundle` is a published one in one file and `adopted` keeps those of others apart; out goes `frame`,
a table with one row a run, from which everything that is shown is computed, and which `kept` keeps. `symbolic_runs`
reads the rows of one analysis.

Imports `base`.
"""
