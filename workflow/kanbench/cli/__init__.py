"""The command line: `parser` knows the words, one short file of verbs does the work of each stage.

`listing` (list), `study` (plan, status), `run` (train, profile, serve), `records` (collect, choose, pack, unpack),
`failures` (failures, retry, conclude), `pages` (render, claims, report, findings, front), `compare`, `bundles`
(publish, verify, take), `baselines` (check-baseline, new-baseline, environment) and `data`. Heavy imports stay inside
the verbs, so that `--help` and `status` are quick.

Imports everything.
"""
