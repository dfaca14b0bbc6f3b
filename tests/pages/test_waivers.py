"""A rule that a method breaks as published stands below every table that shows the method."""

from __future__ import annotations

from kanbench.pages import recipes, render
from kanbench.records import collect

REASON = "the published method centres every batch"


def notes(records, folder) -> tuple[str, ...]:
    collect.write(records, folder)
    return render.make_table(recipes.discover()["summary"], render.RecordSet(folder)).notes


def test_a_waived_rule_is_a_note_of_the_table(records, tmp_path):
    chosen = next(record for record in records if record["status"] == "ok")
    before = notes(records, tmp_path / "before")
    assert not [note for note in before if "contract" in note]
    chosen["method_info"] = {**chosen["method_info"], "waived": {"evaluation": REASON}}
    found = notes(records, tmp_path / "after")
    expected = f"{chosen['label']}: the rule 'evaluation' of the contract does not hold: {REASON}."
    assert found == (*before, expected)
