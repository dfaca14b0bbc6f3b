"""Where a spec becomes a record.

In comes one spec, also one `given` by hand. `train` follows it: data, network, `loop` (with `schedules`), metrics,
`analysis` of the trained network, record; `ensemble` trains the runs of a `cell` together (`stacking`; `side_by_side`
under L-BFGS, with `lbfgs`, `line_search` and `compiled` evaluations), `capture` and `graphs` replay steps on a GPU,
`fitting` has an estimator fit itself, `profile` measures one step instead of training, `artifact` keeps weights.
`watched` has all this done by a child process, and `failures` turns whatever ends it into a status and a reason.
`analyses/` holds drop-ins, found by their files; `symbolic/` is what the analysis of that name is made of. `code` says
which files a run's numbers depend on, for the plan and the record alike.

Imports `baselines`, `tasks`, `measurement`, `records`, `statistics`, `process` and `base`.
"""
