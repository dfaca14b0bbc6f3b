"""What figures show, that their axes are labelled, and that equal records give equal files."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from record_fixtures import RECORDS, write_set

from kanbench.base import paths
from kanbench.base.errors import InvalidInput
from kanbench.pages import palette, recipes, render, style, table
from kanbench.records import frame as frames

WITHOUT_LEGEND = (
    "step_time",
    "schedules",
    "learned_activations",
    "learning_rate_balance",
    "meta_transfer",
    "prompt_axis",
    "symbolic_edges",
    "layer_distances",
)
"""Figures whose lines or cells are named beside them, or by a colour bar."""
OF_EXPLORATION = {"generated_forms", "representation_floor"}
FIGURES = [
    name for name, recipe in recipes.discover().items() if recipe.kind == "figure" and name not in OF_EXPLORATION
]
"""All but those that are drawn from the study `exploration`, whose runs the invented records lack."""


def shown(name, frame):
    recipe = recipes.discover()[name]
    module = recipe.load()
    return module, module.data(frames.of_experiments(frame, recipe.experiments))


@pytest.mark.parametrize("name", FIGURES)
def test_axes_are_labelled_and_methods_have_their_colour(name, everything):
    module, data = shown(name, everything)
    with style.theme(everything["label"]):
        figure = module.draw(data)
    axes = figure.axes
    assert axes
    for panel in (each for each in axes if each.get_label() != "<colorbar>"):
        assert panel.get_xlabel()
        assert panel.get_title()
        assert panel.get_ylabel() or panel.get_yticklabels() or panel.get_shared_y_axes().joined(panel, axes[0])
    assert axes[0].get_ylabel() or axes[0].get_yticklabels()
    assert any(made.get_lines() or made.get_patches() for made in figure.legends) or name in WITHOUT_LEGEND


@pytest.mark.parametrize("name", FIGURES)
def test_what_is_drawn_leads_to_runs(name, everything):
    _, data = shown(name, everything)
    known = set(everything["run"])
    assert len(data)
    for runs in data["runs"]:
        assert runs
        assert set(runs.split()) <= known


def test_error_against_parameters(frame):
    module, data = shown("figure2_error_against_parameters", frame)
    digits = data[(data["task"] == "digits") & (data["method"] == "metakan-relu")].iloc[0]
    expected = frame[(frame["task"] == "digits") & (frame["method"] == "metakan-relu")]["error"]
    assert digits["parameters"] == 2729
    assert digits["median"] == pytest.approx(expected.median())
    assert digits["error_label"] == "1 - test accuracy"
    assert (data["status"] != "ok").sum() == 1
    centre = module.means(data)
    mlp = centre[(centre["label"] == "MLP") & (centre["family"] == "function_fitting") & (centre["tasks"] == 8)]
    assert len(mlp) == 1


def test_peak_memory_adds_up(frame):
    _, data = shown("peak_memory_by_category", frame)
    sums = data.groupby(["comparison", "label", "settings"])["bytes"].sum()
    totals = data.groupby(["comparison", "label", "settings"])["simulated_peak_bytes"].first()
    assert (sums - totals).abs().max() < 1e-6
    assert {name.split(",")[0] for name in data["comparison"]} > {"digits", "poisson dimension=4", "step_cost"}
    assert set(data["category"]) <= set(palette.CATEGORIES)


def test_a_method_without_a_measured_peak_is_named(records):
    for record in records:
        if record["spec"]["method"]["name"] == "pykan-default":
            record.update(status="out_of_memory", reason="no memory")
            record["memory"]["simulated_peak_bytes"] = None
    module, data = shown("peak_memory_by_category", frames.to_frame(records))
    row = data[data["label"] == "pykan"].iloc[0]
    assert row["seeds"] == "0 / 6 (6 out of memory)"
    texts = [text.get_text() for axes in module.draw(data).axes for text in axes.texts]
    assert any("not measured, runs ok: 0 / 6" in text for text in texts)


def test_learning_curves_are_medians_over_ok_seeds(frame):
    _, data = shown("learning_curves", frame)
    assert data["comparison"].nunique() == 6
    assert set(data["family"]) == {"function_fitting", "classification", "pde"}
    point = data[(data["comparison"] == "digits") & (data["label"] == "MLP") & (data["step"] == 300)].iloc[0]
    runs = frame[(frame["task"] == "digits") & (frame["method"] == "mlp")]
    last = [1 - run["curve"][-1]["validation"] for _, run in runs.iterrows()]
    assert point["n_seeds"] == 6
    assert (point["low"], point["high"]) == pytest.approx((min(last), max(last)))


def test_grid_and_depth_names_what_it_cannot_draw(frame):
    module, data = shown("grid_and_depth", frame)
    missing = data[data["error"].isna()].iloc[0]
    assert (missing["label"], missing["depth"], missing["grid_size"]) == ("efficient-KAN", 3, 20)
    assert missing["interval"] == "runs ok: 0 / 2 (2 absent)"
    texts = [text.get_text() for axes in module.draw(data).axes for text in axes.texts]
    assert [text for text in texts if text != "MLP"] == ["no ok run: efficient-KAN at 20"]


def test_step_time_shows_only_runs_that_were_alone(records):
    shown_tasks = set(shown("step_time", frames.to_frame(records))[1]["comparison"])
    assert "digits" in shown_tasks
    assert "poisson dimension=4" not in shown_tasks, "its runs were not exclusive"
    runs = [r for r in records if r["spec"]["task"]["name"] == "digits" and r["status"] == "ok"]
    first, *others = (r for r in runs if r["spec"]["method"]["name"] == "mlp")
    first["time"].update(exclusive=True, together=1)
    for record in others:
        record["time"].update(exclusive=True, together=2)
        record["time"]["step_seconds"] = dict.fromkeys(("median", "q25", "q75"), 1e-9)
    crowd = [r for r in runs if r["spec"]["method"]["name"] == "efficient_kan"]
    for record in crowd:
        record["time"].update(exclusive=False)
    data = shown("step_time", frames.to_frame(records))[1]
    data = data[data["comparison"] == "digits"].set_index("label")
    assert data.loc["MLP", "median_seconds"] == first["time"]["step_seconds"]["median"]
    assert data.loc["MLP", "timed"] == 1
    assert data.loc["efficient-KAN", "timed"] == 0
    assert math.isnan(data.loc["efficient-KAN", "median_seconds"]), "named, without a time"
    cells = table.cells(frames.to_frame(runs)).groupby("method")["step_seconds"].first()
    assert cells["mlp"] == first["time"]["step_seconds"]["median"]
    assert math.isnan(cells["efficient_kan"])


@pytest.mark.parametrize("name", FIGURES)
def test_one_run_is_enough_to_draw(name, records, tmp_path):
    ok = next(r for r in records if r["run"].startswith("digits/metakan-relu"))
    module, data = shown(name, frames.to_frame([ok]))
    assert data.empty or module.draw(data).axes


def test_files_are_equal_for_equal_records(tmp_path):
    first = render.render("step_time", RECORDS, tmp_path / "a")
    second = render.render("step_time", RECORDS, tmp_path / "b")
    assert [path.name for path in first] == ["step_time.pdf", "step_time.png", "step_time.csv"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert b"CreationDate" not in first[0].read_bytes()


def test_without_records_a_placeholder_says_so(tmp_path, records):
    few = write_set([next(r for r in records if r["experiments"] == ["E7"])], tmp_path / "records.jsonl")
    for path in render.render("grid_and_depth", few, tmp_path):
        assert path.is_file()
    render.render("parameters_and_memory", few, tmp_path)
    assert "no efficient-KAN run" in (tmp_path / "tables/parameters_and_memory.md").read_text()
    few.write_text("")
    for name in recipes.discover():
        render.render(name, few, tmp_path)
    assert "No records. Supplied by any experiment" in (tmp_path / "tables/summary.md").read_text()
    assert "No records" in (tmp_path / "tables/parameters_and_memory.tex").read_text()


def test_an_unknown_recipe_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(InvalidInput, match="did you mean 'summary'"):
        render.render("summari", RECORDS, tmp_path)


def test_colours_are_distinct_stable_and_independent_of_the_order():
    labels = [f"method {i}" for i in range(palette.MOST)]
    dealt = palette.looks(labels)
    assert len({look.colour for look in dealt.values()}) == len(labels)
    assert palette.looks(reversed(labels)) == dealt
    with style.theme(labels):
        assert palette.looks(["method 3"])["method 3"] == dealt["method 3"]
    more = palette.looks([*labels, "z1", "z2"])
    assert len({(look.colour, look.marker) for look in more.values()}) == len(more)


def test_rendering_imports_no_torch(tmp_path):
    code = (
        "import sys; from kanbench.pages import render, report, recipes; from kanbench.verdicts import claims\n"
        "from kanbench.records import collect\n"
        f"render.render('step_time', {str(RECORDS)!r}, {str(tmp_path)!r})\n"
        f"render.render('summary', {str(RECORDS)!r}, {str(tmp_path)!r})\n"
        f"render.render_claims({str(RECORDS)!r}, {str(tmp_path)!r})\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'torchvision', 'metakan')])"
    )
    environment = {"PYTHONPATH": str(paths.root() / "workflow"), "MPLCONFIGDIR": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=paths.root()
    )
    assert done.stdout.strip() == "[]", done.stderr
