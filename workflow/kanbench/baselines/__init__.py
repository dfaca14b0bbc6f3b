"""The plug-in contract: the folders of `baselines/` at the top of the repository, from outside.

In comes a folder with `baseline.yaml` and `model.py`. `discovery` reads the description without torch, for the plan;
`build` imports `model.py` and makes the network of a spec; `check` tests the contract; `scaffold` writes a new
folder. Out go methods with resolved settings, and networks. No baseline is named here.

Imports `tasks`, `measurement` and `base`.
"""
