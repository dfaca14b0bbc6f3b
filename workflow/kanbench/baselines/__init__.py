"""The plug-in contract: the folders of `baselines/` at the top of the repository, from outside.

In comes a folder with `baseline.yaml` and `model.py`. `discovery` reads the description without torch, for the plan,
and `description` says what is wrong with it; `depends` knows on which files and packages its numbers depend; `build`
imports `model.py` and makes the network of a spec; `environments` have packages that the suite does not go with;
`scaffold` writes a new folder, `wrapping` one around a package. The contract is tested by `check`:
`supervised` has a child process try `rules` (what a model computes) and `conduct` (what it may touch) on a `subject`,
and `outcomes` says what came of it. A method that is no network keeps the second contract, `estimators`, by
`estimator_rules`. Out go methods with resolved settings, and networks. No baseline is named here.

Imports `tasks`, `measurement` and `base`.
"""
