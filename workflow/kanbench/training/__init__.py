"""Where a spec becomes a record.

In comes one spec. `train` follows it: data, network, `loop`, metrics, `analysis` of the trained network, record;
`ensemble` trains the seeds of a cell together, `capture` and `graphs` replay steps on a GPU, `profile` measures one
step instead of training, `artifact` keeps weights. `analyses/` holds drop-ins, found by their files; `symbolic/` is
what the analysis of that name is made of. `code` says which files a run's numbers depend on, for the plan and the
record alike.

Imports `baselines`, `tasks`, `measurement`, `records`, `statistics`, `process` and `base`.
"""
