"""The tasks: drop-in files, and what a task is.

`<name>.yaml` describes a task and names the module here that loads it; several may share one. `taskinfo` reads the
descriptions without torch, for the plan. `task` says what a module offers: data, batches, loss and metrics of a
problem. In comes a spec's task and seed, out goes a `Task` that the training loop can ask for batches and scores.

Imports `data` and `base`.
"""
