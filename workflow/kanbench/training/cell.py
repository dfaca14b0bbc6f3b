"""Which runs may be trained together: nothing else decides it. Free of torch: the plan asks for every run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kanbench.base.spec import canonical
from kanbench.tasks import taskinfo

RATE = "learning_rate"


def cell(spec: Mapping[str, Any]) -> str:
    """Return what runs have in common that may be trained together, as text.

    They differ in their seed, in learning rates, and in settings of the task that change the numbers of its data alone
    (`data_only` of its description): formulas with as many variables have networks and data of equal shapes.
    """
    info, settings = taskinfo.discover()[spec["task"]["name"]], dict(spec["task"]["settings"])
    for name in info.data_only:
        value = settings.pop(name)
        if info.settings[name].get("choices") == "formulas":
            settings["inputs"] = len(taskinfo.formulas()[value]["variables"])
    groups = {name: _without_rate(group) for name, group in spec["training"].get("groups", {}).items()}
    training = {**_without_rate(spec["training"]), "groups": {name: rest for name, rest in groups.items() if rest}}
    return canonical({**spec, "seed": None, "task": {**spec["task"], "settings": settings}, "training": training})


def _without_rate(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != RATE}
