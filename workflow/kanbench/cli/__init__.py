"""The command line: `parser` knows the words, one short file of verbs does the work of each stage.

`study` (list, plan, status), `run` (train, profile, serve), `records` (collect, choose, pack, unpack), `pages`
(render, claims, report), `failures` (failures, retry, conclude), `baselines` (check-baseline, new-baseline) and `data`.
Heavy imports stay inside the verbs, so that `--help` and `status` are quick.

Imports everything.
"""
