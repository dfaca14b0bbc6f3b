"""Which runs may be trained together. Free of torch: the plan asks for every run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kanbench.base import spec as specs
from kanbench.tasks import taskinfo


def cell(spec: Mapping[str, Any]) -> str:
    """Return what runs have in common that may be trained together, as text.

    They differ in their seed, in learning rates (`base.spec.cell`), and in settings of the task that change the numbers
    of its data alone (`data_only` of its description): formulas with as many variables have networks and data of equal
    shapes.
    """
    info, settings = taskinfo.discover()[spec["task"]["name"]], dict(spec["task"]["settings"])
    for name in info.data_only:
        value = settings.pop(name)
        if info.settings[name].get("choices") == "formulas":
            settings["inputs"] = len(taskinfo.formulas()[value]["variables"])
    return specs.cell({**spec, "task": {**spec["task"], "settings": settings}})
