"""Before anything runs: from a configuration to a plan.

In comes a YAML file of `workflow/config/`. `config` checks it, `plan` expands it into runs, `tuning` draws trials,
`together` groups runs into jobs, `cost` and `cost_memory` say beforehand what it takes, `status` how far it is,
`resume` clears what a killed run left, `failures` which failed
and why, `choice` picks settings from the records of a tuning study.

Imports `training` (what analyses there are and which files a run depends on, no loop), `baselines`, `tasks`,
`measurement`, `records` and `base`.
"""
