"""Before anything runs: from a configuration to a plan.

In comes a YAML file of `workflow/config/`. `config` checks it and `early` what only the last steps need; `plan`
expands it into runs, with the help of `sources` (runs that others start from), `quarters` (a quarter of the budget),
`looks` (further seeds for what is undecided), `rates` (learning rates by name) and `tuning` (trials); `together`
groups runs into jobs. `due` says which runs have to be made, `cost` (with the constants of `cost_fit`) and
`cost_memory` what they take, `lacking` which runs are skipped for want of data, `status` how far a study is, `failures`
which runs failed and how they are made again, `resume` clears what a killed run left, and `surroundings` looks whether
Snakemake can work here.
`search` says what the study `tuning` tries; `choosing` makes its tables from its records, by `choice` (settings),
`rate_choice` (rates) and `references` (the strongest dense KAN). `again` repeats random runs of a record set.

Imports `training` (what analyses there are and which files a run depends on, no loop), `baselines`, `tasks`,
`measurement`, `records`, `verdicts` and `base`.
"""
