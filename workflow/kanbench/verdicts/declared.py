"""Reads the declared claims, and refuses those that contradict themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kanbench.base import paths, schema
from kanbench.base.budget import is_quarter, quarter, whole
from kanbench.base.errors import Finding, InvalidInput, nearest
from kanbench.statistics import looks
from kanbench.verdicts import criteria
from kanbench.verdicts.evidence import KIND


def load(path: Path) -> list[dict[str, Any]]:
    """Return the claims that the YAML file `path` declares, each with what the file declares for all.

    Added to a claim: `looks` (sizes, ascending), `twins` (names of tasks that are one), and of a claim whose
    criterion names a list of references `criterion.references` (methods) and `required` (those without which the
    method cannot be said to stand against all).

    Raises:
        InvalidInput: as `read`.
    """
    content = read(path)
    return [_complete(claim, content) for claim in content["claims"]]


def read(path: Path) -> dict[str, Any]:
    """Return what the YAML file `path` declares, as it stands there.

    Raises:
        InvalidInput: unknown keys, missing ones, repeated ids, names that are not declared, scopes and looks that
            contradict each other, all at once.
    """
    label = paths.relative(path)
    content = schema.read_yaml(path, label)
    problems = schema.findings(content, "claims", label)
    if problems:
        raise InvalidInput(problems)
    seen: set[str] = set()
    members = _members(content["claims"])
    for position, claim in enumerate(content["claims"]):
        where = f"claims.{position}"
        if claim["id"] in seen:
            problems.append(Finding(label, f"{where}.id", claim["id"], "each id once", "rename one of the two"))
        seen.add(claim["id"])
        problems += _findings(claim, content, label, where, members)
    if problems:
        raise InvalidInput(problems)
    return content


def _members(claims: list[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many paired claims each family has."""
    found: dict[str, int] = {}
    for claim in claims:
        if claim["criterion"]["kind"] in criteria.PAIRED:
            family = claim.get("family") or claim["id"]
            found[family] = found.get(family, 0) + 1
    return found


def _findings(
    claim: Mapping[str, Any], content: Mapping[str, Any], label: str, where: str, members: Mapping[str, int]
) -> Iterator[Finding]:
    criterion, kind = claim["criterion"], claim["criterion"]["kind"]
    family = claim.get("family")
    if family and family not in content["families"]:
        step = "declare the family or correct the name"
        yield Finding(label, f"{where}.family", family, nearest(family, list(content["families"])), step)
    for key in criteria.missing(criterion):
        yield Finding(label, f"{where}.criterion.{key}", "missing", f"{key}, which {kind} needs", "add it")
    named, known = criterion.get("references"), list(content.get("references", {}))
    if named is not None and named not in known:
        expected = nearest(named, known) if known else "a list under references"
        yield Finding(label, f"{where}.criterion.references", named, expected, "declare the list or correct the name")
    if named is not None and "reference" in criterion:
        yield Finding(label, f"{where}.criterion", "reference and references", "one of the two", "remove one")
    scope = claim.get("scope")
    if kind in (*criteria.PAIRED, "win_count"):
        if scope is None:
            yield Finding(label, f"{where}.scope", "missing", f"these tasks or {KIND}", "say what the claim is about")
        elif kind == "win_count" and scope != KIND:
            yield Finding(label, f"{where}.scope", scope, f"{KIND}: a share of tasks counts tasks", "correct it")
    elif scope is not None:
        expected = f"no scope: {kind} is held against each value"
        yield Finding(label, f"{where}.scope", scope, expected, "remove it")
    if scope == KIND and "looks" in claim:
        expected = "no looks: tasks vary, and are looked at once"
        yield Finding(label, f"{where}.looks", str(claim["looks"]), expected, "remove them, or say these tasks")
    elif scope is not None and scope != KIND and kind in criteria.PAIRED:
        sizes = claim.get("looks", content.get("looks", list(looks.SIZES)))
        yield from _look_findings(sizes, members[family or claim["id"]], label, f"{where}.looks")
    yield from _quarter_findings(claim, label, f"{where}.quarter")


def _quarter_findings(claim: Mapping[str, Any], label: str, where: str) -> Iterator[Finding]:
    named, own = listed(claim.get("quarter", [])), listed(claim["experiment"])
    if set(named) & set(own):
        expected = "experiments other than those of the full budget"
        yield Finding(label, where, str(claim["quarter"]), expected, "name the shorter experiment")
    for name in named:
        if is_quarter(name) and name not in own and whole(name) not in own:
            expected = nearest(name, [quarter(each) for each in own])
            yield Finding(label, where, name, expected, "name a quarter of the claim's own experiments")


def _look_findings(sizes: list[int], members: int, label: str, where: str) -> Iterator[Finding]:
    if sizes != sorted(set(sizes)):
        yield Finding(label, where, str(sizes), "ascending sizes, each once", "sort them")
        return
    late = looks.cannot_decide(sizes, members)
    if sizes[0] in late:
        able = next(n for n in range(sizes[0], 1000) if n not in looks.cannot_decide([n, *sizes[1:]], members))
        found = f"{sizes[0]} seeds, at which no outcome decides in a family of {members}"
        yield Finding(label, where, found, f"a first look at {able} seeds or more", "make the first look larger")


def listed(names: str | list[str]) -> list[str]:
    """Return names that may be written as one or as a list of them."""
    return [names] if isinstance(names, str) else names


def _complete(claim: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    claim = {"looks": content.get("looks", list(looks.SIZES)), **claim, "twins": content.get("twins", [])}
    named = claim["criterion"].get("references")
    if named is not None:
        forms = content["references"][named]
        claim["required"] = list(forms["methods"])
        methods = [*forms["methods"], *forms.get("where_they_run", [])]
        claim["criterion"] = {**claim["criterion"], "references": methods}
    return claim
