"""Looks: the sizes at which claims may be decided, and which experiments go on to the next one.

A study declares `looks: [10, 20, 40]`: numbers of seeds. At the first look every experiment has the first number. From
one look to the next, only those experiments get further seeds that have an undecided claim in the verdicts of the look
before (`claims.json`), with their quarters and the experiments that supply their weights. The seeds of earlier looks
stay, and so do their runs. What was decided to go on is kept beside the records, since the verdicts change when the
further runs are in.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from kanbench.base.atomic import write_text
from kanbench.base.budget import whole
from kanbench.base.errors import Finding
from kanbench.study import sources

FILE, CLAIMS = "looks.json", "claims.json"
UNDECIDED, TASKS = "undecided", "tasks"
"""The verdict that asks for further seeds, unless its unit are tasks: then no seed decides."""


def findings(content: Mapping[str, Any], label: str) -> Iterator[Finding]:
    """Yield what is wrong with declared looks."""
    places = {"looks": content, **{f"experiments.{key}.looks": each for key, each in content["experiments"].items()}}
    for place, each in places.items():
        sizes = each.get("looks", [])
        if sizes != sorted(set(sizes)):
            yield Finding(label, place, str(sizes), "sizes that grow from look to look", "order them")
    longest = max((len(each.get("looks", [])) for each in places.values()), default=0)
    if content.get("look", 1) > max(1, longest):
        expected = f"at most {longest}: `looks` declares no more" if longest else "a study that declares `looks`"
        yield Finding(label, "look", str(content["look"]), expected, "lower the look; looks are not added afterwards")


class Looks:
    """The looks of a study as far as they were reached.

    Args:
        content: The study, quarters included.
        label: Names its file for messages.
        folder: Where its records are.

    Attributes:
        look: The look to plan: the one that the study asks for, else the last that was begun, else the first.
        extended: By look from the second on, the experiments that go on to it, with their undecided claims.
        problems: Why the look cannot be planned.
    """

    def __init__(self, content: Mapping[str, Any], label: str, folder: Path):
        self.content, self.label, self.folder, self.problems = content, label, folder, []
        self.kept = self._read(folder / FILE) or {}
        begun = max((int(look) for look in self.kept), default=1)
        self.look = content.get("look") or begun
        self.extended: dict[int, dict[str, list[str]]] = {}
        for look in range(2, self.look + 1 if "records" not in content else 2):
            self.extended[look] = self._kept(look) if str(look) in self.kept else self._decide(look)

    def sizes(self, key: str) -> list[int]:
        """Return the declared sizes of an experiment: its own, those of the study where it names no seeds, or none."""
        experiment = self.content["experiments"][key]
        inherited = [] if "seeds" in experiment else self.content.get("looks", [])
        return experiment.get("looks", inherited)

    def reached(self, key: str) -> int:
        """Return the look that an experiment has reached; looks go on one by one."""
        return 1 + sum(key in experiments for experiments in self.extended.values())

    def seeds(self, key: str) -> list[int]:
        """Return the seeds of an experiment at the planned look: those listed, then the integers after the last."""
        listed = self.content["experiments"][key].get("seeds", self.content["seeds"])
        sizes = self.sizes(key)
        if not sizes:
            return list(listed)
        size = sizes[min(self.reached(key), len(sizes)) - 1]
        first = max(listed) + 1
        return [*listed, *range(first, first + max(0, size - len(listed)))][:size]

    def write(self) -> None:
        """Keep what was decided, where there is something new."""
        new = {str(look): self._entry(look) for look in self.extended if str(look) not in self.kept}
        if new and not self.problems:
            write_text(self.folder / FILE, json.dumps({**self.kept, **new}, indent=1, sort_keys=True))

    def lines(self, keys: Collection[str]) -> Iterator[str]:
        """Yield sentences about the looks of experiments, for `plan` and `status`; none where none are declared."""
        declared = {key: sizes for key in keys if (sizes := self.sizes(key))}
        if not declared:
            return
        yield f"look {self.look} of {max(map(len, declared.values()))}"
        going = self.extended.get(self.look, {})
        for key in declared:
            if key in going:
                why = f"undecided: {', '.join(going[key])}" if going[key] else "others start from its runs"
                yield f"  {key} goes on to {len(self.seeds(key))} seeds; {why}"
        stay = [key for key in declared if key not in going]
        if stay and self.look > 1:
            yield f"  no further seeds: {', '.join(stay)}"

    def _kept(self, look: int) -> dict[str, list[str]]:
        return self.kept[str(look)]["experiments"]

    def _entry(self, look: int) -> dict[str, Any]:
        return {"experiments": self.extended[look], "records": self._read(self.folder / CLAIMS)["records_sha256"]}

    def _decide(self, look: int) -> dict[str, list[str]]:
        """Return the experiments that go on to a look, by the verdicts of the one before."""
        verdicts, before = self._read(self.folder / CLAIMS), self.kept.get(str(look - 1))
        problem = None
        if verdicts is None:
            problem = "no such file"
        elif look < self.look:
            problem = f"look {look} was not begun"
        elif before and before["records"] == verdicts["records_sha256"]:
            problem = f"the verdicts that look {look - 1} was planned from"
        if problem:
            where, step = f"results/{self.content['study']}/{CLAIMS}", "snakemake --cores all --config look="
            expected, step = f"the verdicts of look {look - 1}", f"finish that look: {step}{look - 1}"
            self.problems.append(Finding(where, "", problem, expected, step))
            return {}
        found: dict[str, list[str]] = {}
        for claim in verdicts["claims"]:
            if claim["verdict"] == UNDECIDED and claim.get("unit") != TASKS:
                for key in claim["experiments"]:
                    for each in self._company(key, look):
                        found.setdefault(each, []).append(claim["id"])
        return {key: sorted(set(ids)) for key, ids in self._with_sources(found, look).items()}

    def _company(self, key: str, look: int) -> list[str]:
        """Return an experiment and its quarter, as far as they have come to the look before and may go on."""
        experiments = self.content["experiments"]
        return [each for each in experiments if whole(each) == whole(key) and self._may_go_on(each, look)]

    def _may_go_on(self, key: str, look: int) -> bool:
        return len(self.sizes(key)) >= look and self.reached(key) == look - 1

    def _with_sources(self, found: dict[str, list[str]], look: int) -> dict[str, list[str]]:
        waiting = list(found)
        while waiting:
            for source in sources.of_experiment(self.content["experiments"][waiting.pop()]):
                if source not in found and source in self.content["experiments"] and self._may_go_on(source, look):
                    found[source] = []
                    waiting.append(source)
        return found

    @staticmethod
    def _read(path: Path) -> Any:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
