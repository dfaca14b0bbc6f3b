"""Forms of a generated KAN: validation error against parameters

What each form of a generated KAN costs in accuracy: its validation error over that of the strongest dense KAN on the
same task and seed, against its trainable parameters over those of the dense KAN of this suite. Points are medians over
tasks and seeds with their 95 % interval (range below six); of several learning rates the one that validation prefers
counts, for every method alike. The vertical line marks one parameter in three, the horizontal one the strongest dense
KAN. Training, choice and picture are of the study `exploration`, whose seeds no other study uses.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import cells, drawing, naming, palette, style

KIND = "figure"
EXPERIMENTS = ["E14", "E14deep", "E14digits", "E14poisson"]
CATEGORY = "Ablations"
DENSE = ("efficient_kan", "efficient_kan-released", "tiled_kan", "pykan-fast")
COUNTED = "tiled_kan"
"""The dense KAN whose parameters are the unit."""
THIRD = 1 / 3
GENERATED = "metakan"
WORDS = {
    "amplitude": "amplitudes",
    "separate": "sum of curves",
    "remainder_rank": "remainder of rank {:g}",
    "shapes": "starts on {}",
    "prompt_dim": "prompt_dim {:g}",
    "hidden_dim": "hidden_dim {:g}",
    "num_clusters": "{} meta-learner(s)",
    "meta_activation": "activation {}",
}
SETTINGS = "spec.method.settings."
PLACE = ["spec.task.name", f"{SETTINGS}depth"]


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a place (task and depth) and form: the ratio, the share of parameters, and its runs."""
    if records.empty or not set(PLACE) <= set(records.columns):
        return pd.DataFrame()
    runs = records.assign(validation=_validation(records), form=_forms(records))
    runs = runs[runs["validation"].notna()]
    rows = []
    for place, here in runs.groupby(PLACE):
        chosen = pd.concat([_best_rate(cell) for _, cell in here.groupby(["task", "form"])])
        pairs = _against_dense(chosen)
        for form, own in pairs.groupby("form"):
            rows.append(
                {
                    "place": f"{place[0].replace('_', ' ')}, {place[1]:g} hidden layer{'s' if place[1] > 1 else ''}",
                    "form": form,
                    "method": own["method"].iloc[0],
                    "share": own["share"].median(),
                    **cells.spread(own["ratio"], f"forms {place} {form}", "ratio"),
                    "reference": own["reference"].iloc[0] if own["reference"].nunique() == 1 else "by task",
                    "n": len(own),
                    **cells.outcome(own),
                }
            )
    return pd.DataFrame(rows)


def _validation(records: pd.DataFrame) -> pd.Series:
    """Return the error on the validation split at the step chosen there, lower is better."""
    values = pd.Series(float("nan"), index=records.index)
    for metric, runs in records.groupby("metric"):
        column = f"metrics.selected.validation.{metric}"
        if column in runs:
            values[runs.index] = pd.to_numeric(runs[column], errors="coerce")
    return values.where(records["goal"] != "max", 1 - values)


def _forms(records: pd.DataFrame) -> pd.Series:
    """Return what sets a run's form apart: its method, and the settings that differ among the generated ones."""
    generated = records["method"].str.startswith(GENERATED)
    names = [name for name in WORDS if f"{SETTINGS}{name}" in records]
    varied = [name for name in names if records.loc[generated, f"{SETTINGS}{name}"].nunique(dropna=False) > 1]

    def form(run: pd.Series) -> str:
        parts = [run["label"]]
        for name in varied:
            value = run[f"{SETTINGS}{name}"]
            if run["method"].startswith(GENERATED) and pd.notna(value) and value is not False:
                known = float(value) if ":g" in WORDS[name] else str(value).replace("_", " ")
                parts.append(WORDS[name].format(known))
        return ", ".join(parts)

    return records.apply(form, axis=1)


def _best_rate(cell: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of the learning rate whose median over seeds is best."""
    rates = cell.get("spec.training.learning_rate")
    if rates is None or rates.nunique() < 2:
        return cell
    medians = cell.groupby("spec.training.learning_rate")["validation"].median()
    return cell[rates == medians.idxmin()]


def _against_dense(runs: pd.DataFrame) -> pd.DataFrame:
    """Return every run with its ratio to the strongest dense KAN of its task, and its share of parameters."""
    found = []
    for _, here in runs.groupby("task"):
        dense = here[here["method"].isin(DENSE)]
        if dense.empty:
            continue
        reference = dense.groupby("method")["validation"].median().idxmin()
        by_seed = dense[dense["method"] == reference].set_index("seed")["validation"]
        unit = here.loc[here["method"] == COUNTED, "parameters.trainable"].median()
        own = here[here["seed"].isin(by_seed.index)]
        ratio = own["validation"] / own["seed"].map(by_seed)
        found.append(own.assign(ratio=ratio, share=own["parameters.trainable"] / unit, reference=reference))
    return pd.concat(found) if found else runs.iloc[:0].assign(ratio=0.0, share=0.0, reference="")


def sentences(frame: pd.DataFrame) -> list[str]:
    """Return a sentence a place: the best form with at most a third of the parameters, and the best of all."""
    told = []
    for place, rows in frame.groupby("place"):
        generated = rows[rows["method"].str.startswith(GENERATED)]
        if generated.empty:
            continue
        best = generated.loc[generated["ratio"].idxmin()]
        text = f"{place}: of {len(generated)} forms the best is {_told(best)}"
        small = generated[generated["share"] <= THIRD]
        if small.empty:
            text += "; none has a third of the parameters or less"
        elif small["ratio"].idxmin() != generated["ratio"].idxmin():
            text += f"; with a third of the parameters or less, {_told(small.loc[small['ratio'].idxmin()])}"
        told.append(text)
    return told


def _told(row: pd.Series) -> str:
    return f"{row['form']} ({style.ratio(row['ratio'])} × the error, {style.number(row['share'])} of the parameters)"


def draw(frame: pd.DataFrame):
    """Draw a panel a place."""
    looks = palette.looks(frame["form"])
    places = sorted(frame["place"].unique())
    figure, panels = drawing.grid_of_axes(len(places), columns=2, size=(4.4, 3.4))
    for axes, place in zip(panels, places, strict=True):
        here = frame[frame["place"] == place]
        for _, row in here.iterrows():
            look = looks[row["form"]]
            drawing.spans(axes, pd.Series([row["share"]]), row.to_frame().T, look, alpha=0.5)
            axes.plot(row["share"], row["ratio"], linestyle="", color=look.colour, marker=look.marker)
        best = here[here["method"].str.startswith(GENERATED)].nsmallest(1, "ratio")
        for _, row in best.iterrows():
            naming.beside(axes, row["share"], row["ratio"], row["form"], colour=palette.INK)
        axes.axhline(1, color="#555555", linestyle=":", linewidth=1)
        axes.axvline(THIRD, color="#555555", linestyle=":", linewidth=1)
        drawing.logarithmic(axes)
        axes.set(xlabel="parameters over the dense KAN's", ylabel="validation error over the dense KAN's", title=place)
    drawing.method_legend(figure, looks)
    drawing.key(figure, drawing.spread_key("bar", frame["interval"]), *sentences(frame))
    return figure
