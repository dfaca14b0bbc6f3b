"""Answers in words: every number in them comes from records, and the words turn when the records do."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from kanbench.pages import answers, recipes
from kanbench.verdicts.outcome import Outcome

HELD = Outcome(
    id="a",
    statement="A is as good as B.",
    source="here",
    claimed="equal",
    experiments=("E1",),
    family="f",
    kind="paired_ratio",
    estimate=1.25,
    low=0.5,
    high=2.0,
    interval="95 % interval, 8 seeds",
    n_ok=7,
    n_planned=8,
    verdict="holds",
    reason="the interval excludes a loss of more than a factor of 2",
)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["holds", "holds"], "holds"),
        (["fails"], "fails"),
        (["holds", "fails"], "in part"),
        (["undecided", "fails"], "in part"),
        (["holds", "in part"], "in part"),
        (["holds", "undecided"], "undecided"),
        (["holds", "no records"], "holds"),
        (["no records"], "no records"),
        ([], "no records"),
    ],
)
def test_several_verdicts_make_one(verdicts, expected):
    assert answers.overall([replace(HELD, verdict=verdict) for verdict in verdicts]) == expected


def test_a_sentence_says_what_was_measured_and_why():
    assert answers.sentence(HELD) == (
        "A is as good as B: holds. Measured: median ratio 1.25, 0.500 to 2.00 (95 % interval, 8 seeds; 7 of 8 planned "
        "pairs). Why: the interval excludes a loss of more than a factor of 2."
    )
    missing = replace(HELD, verdict="no records", reason="no runs of a in E1")
    assert answers.sentence(missing) == "A is as good as B: no records (no runs of a in E1)."


def runs(rows) -> pd.DataFrame:
    columns = ["run", "method", "label", "seed", "status", "hit", "score"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(task="t", experiments=[["E12"]] * len(frame))


RUNS = runs(
    [
        ("r0", "a", "A", 0, "ok", True, 0.5),
        ("r1", "a", "A", 1, "ok", True, 0.7),
        ("r2", "a", "A", 2, "ok", None, None),
        ("r3", "a", "A", 3, "diverged", None, None),
        ("r4", "b", "B", 0, "ok", False, 0.25),
        ("r5", "b", "B", 1, "ok", True, math.nan),
        ("r6", "b", "B", 2, "ok", False, math.nan),
        ("r7", "b", "B", 3, "ok", True, math.nan),
    ]
)


def test_shares_count_a_missing_value_as_no_and_leave_failed_runs_out():
    # Clopper-Pearson: 2 of 3 is 9.4 to 99.2 %, 2 of 4 is 6.8 to 93.2 %.
    assert answers.shares(RUNS, "hit") == "A 2 of 3 (67 %, 9 % to 99 %), B 2 of 4 (50 %, 7 % to 93 %)"
    assert answers.shares(RUNS, "absent") == "A 0 of 3 (0 %, 0 % to 71 %), B 0 of 4 (0 %, 0 % to 60 %)"


def test_medians_name_the_range():
    assert answers.medians(RUNS, "score") == "A 0.600 (0.500 to 0.700), B 0.250"
    assert answers.medians(RUNS, "absent") == "A not measured, B not measured"


def test_discordant_pairs_are_counted_and_tested():
    # Pairs: seed 0 gained, seed 1 equal, seed 3 lost (diverged); seed 2 has no value for A.
    assert answers.discordant(RUNS, "hit", "a", "b") == "1 pairs gained and 1 lost of 3, exact p 1.0"
    many = runs(
        [(f"a{i}", "a", "A", i, "ok", True, 0) for i in range(6)]
        + [(f"b{i}", "b", "B", i, "ok", False, 0) for i in range(6)]
    )
    # Two-sided binomial of 6 of 6: 2 / 2^6 = 0.03125.
    assert answers.discordant(many, "hit", "a", "b") == "6 pairs gained and 0 lost of 6, exact p 0.031"


def test_a_row_follows_its_verdict_and_names_its_evidence():
    row = answers.row("Q?", [HELD], RUNS, leads={"holds": "Yes."}, facts=["B has 2."])
    assert row["answer"].startswith("Yes. A is as good as B: holds.")
    assert row["answer"].endswith("B has 2.")
    assert row["evidence"] == "claims a; E12, runs ok: 7 / 8 (1 diverged)"
    lost = answers.row("Q?", [replace(HELD, verdict="fails")], RUNS, leads={"holds": "Yes."})
    assert lost["answer"].startswith("Fails. ")
    made = answers.table_of(pd.DataFrame([row]))
    assert made.columns == ("Question", "Verdict", "Answer", "Evidence")
    assert made.rows[0][1].badge == "holds"
    assert made.rows[0][1].runs == tuple(sorted(RUNS["run"]))
    assert r"\begin{tabular}{p{0.16\linewidth}lp{0.5\linewidth}p{0.16\linewidth}}" in made.to_latex()


def test_an_answer_is_rendered_again_when_a_claim_changes():
    found = recipes.discover()
    for name in ("paper_figures/claims.yaml", "answers.py", "claims.py", "records/symbolic_runs.py"):
        assert any(file.endswith(name) for file in found["answer_symbolic"].code_files)
    assert "workflow/kanbench/records/symbolic_runs.py" in found["table_symbolic"].code_files
    assert "paper_figures/claims.yaml" not in found["summary"].code_files
