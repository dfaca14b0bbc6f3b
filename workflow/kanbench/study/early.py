"""What is refused before a study starts although only its last steps need it: claims that contradict the studies.

Claims speak of experiments of several studies. An experiment is known where any file of `workflow/config`, or the study
at hand, plans it. A study file that is itself refused cannot say what it plans: then nothing is said of experiments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kanbench.base import paths
from kanbench.base.errors import Finding, InvalidInput, nearest
from kanbench.statistics.looks import SIZES
from kanbench.study import config
from kanbench.study.plan import Plan
from kanbench.tasks import taskinfo
from kanbench.verdicts import criteria, declared
from kanbench.verdicts.evidence import ENOUGH_TASKS, KIND

STUDIES = "workflow/config"


def refuse_bad_claims(path: Path, plan: Plan) -> None:
    """Refuse a file of claims that would be refused after the last run, or that no study can supply.

    Raises:
        InvalidInput: as `declared.read`; or references that no baseline provides, experiments and quarters that no
            study plans, looks other than those of the study, a scope for which no study has tasks enough.
    """
    content, label = declared.read(path), paths.relative(path)
    problems = [*_methods(content, label, plan), *_looks(content, label, plan)]
    studies = planned_studies(plan.study)
    if studies:
        problems += [*_experiments(content, label, studies), *_scopes(content, label, studies)]
    if problems:
        raise InvalidInput(problems)


def planned_studies(study: config.Study) -> list[config.Study]:
    """Return the study at hand and those of `workflow/config`; none where one of them is refused."""
    try:
        files = sorted((paths.root() / STUDIES).glob("*.yaml"))
        return [study, *(config.load(file) for file in files)]
    except InvalidInput:
        return []


def _methods(content: Mapping[str, Any], label: str, plan: Plan) -> Iterator[Finding]:
    """Yield methods and references that no baseline provides; those of a baseline that is refused are passed over."""
    places = {
        f"references.{name}.{key}": forms[key]
        for name, forms in content.get("references", {}).items()
        for key in ("methods", "where_they_run")
        if key in forms
    }
    for position, claim in enumerate(content["claims"]):
        for key in ("method", "reference"):
            places[f"claims.{position}.criterion.{key}"] = declared.listed(claim["criterion"].get(key, []))
    for place, names in places.items():
        for name in names:
            if name not in plan.methods and not any(each.stands_for(name, "") for each in plan.refused):
                step = "correct the name, or add the baseline"
                yield Finding(label, place, name, nearest(name, list(plan.methods)), step)


def _experiments(content: Mapping[str, Any], label: str, studies: Sequence[config.Study]) -> Iterator[Finding]:
    known = sorted({key for study in studies for key in study.content["experiments"]})
    for position, claim in enumerate(content["claims"]):
        for key in ("experiment", "quarter"):
            for name in declared.listed(claim.get(key, [])):
                if name not in known:
                    step = "write `quarter: true` in a study" if key == "quarter" else f"correct it or plan {name}"
                    yield Finding(label, f"claims.{position}.{key}", name, nearest(name, known), step)


def _looks(content: Mapping[str, Any], label: str, plan: Plan) -> Iterator[Finding]:
    """Yield looks of the study other than those at which the claims on its experiments may be decided."""
    experiments, seen = plan.study.content["experiments"], set()
    for claim in content["claims"]:
        if claim["criterion"]["kind"] not in criteria.PAIRED or claim["scope"] == KIND:
            continue
        sizes = claim.get("looks", content.get("looks", list(SIZES)))
        for name in declared.listed(claim["experiment"]):
            planned = plan.looks.sizes(name) if name in experiments else []
            place = f"experiments.{name}.looks" if "looks" in experiments.get(name, {}) else "looks"
            if planned in ([], sizes) or (place, *sizes) in seen:
                continue
            seen.add((place, *sizes))
            expected = f"{sizes}, at which {label} lets the claim {claim['id']} on {name} be decided"
            yield Finding(plan.study.label, place, str(planned), expected, "declare the same looks in both")


def _scopes(content: Mapping[str, Any], label: str, studies: Sequence[config.Study]) -> Iterator[Finding]:
    """Yield claims about tasks of a kind for which every study plans fewer tasks than can decide one."""
    for position, claim in enumerate(content["claims"]):
        if claim.get("scope") != KIND:
            continue
        family = claim["criterion"].get("select", {}).get("family")
        most = max(len(_tasks(study, declared.listed(claim["experiment"]), family)) for study in studies)
        if 0 < most < ENOUGH_TASKS:
            found = f"{KIND}, of which no study plans more than {most}"
            expected = f"at least {ENOUGH_TASKS} tasks in one study, or these tasks"
            yield Finding(label, f"claims.{position}.scope", found, expected, "correct the scope, or add tasks")


def _tasks(study: config.Study, experiments: Sequence[str], family: str | None) -> set[str]:
    """Return the tasks that a study plans in some experiments, near twins and repeats in noise counted each."""
    known, found = taskinfo.discover(), set()
    for name in experiments:
        for entry in study.content["experiments"].get(name, {}).get("tasks", []):
            entry = {"name": entry} if isinstance(entry, str) else entry
            info = known.get(entry["name"])
            if info is None or family in (None, info.family):
                settings = taskinfo.expand_sets(entry["name"], entry.get("settings", {})) if info else {}
                found |= {f"{entry['name']} {combination}" for combination in config.combinations(settings)}
    return found
