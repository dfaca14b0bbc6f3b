"""Accuracy against the number of meta-learners

Deep networks whose layers share C meta-learners. Test accuracy at the step chosen on validation, median over seeds with
its 95 % interval (range below six seeds); faint markers are single seeds. Dashed lines: the dense network of the same
basis and the plain convolutions, where they were run on the task. The number of layers is that of the network, so that
C equal to it gives each layer its own meta-learner.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import cells, drawing, palette, table

KIND = "figure"
EXPERIMENTS = ["E4", "E6deep"]
CATEGORY = "Ablations"
CLUSTERS, LAYERS = "spec.method.settings.num_clusters", "spec.method.settings.layers"


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task, number of layers, method and C; methods without meta-learners have no C."""
    layers = records[LAYERS] if LAYERS in records else records["spec.method.settings.depth"] + 1
    clusters = pd.to_numeric(records[CLUSTERS].where(records[CLUSTERS] != "per_layer", layers), errors="coerce")
    records = records.assign(layers=layers, clusters=clusters)
    swept = records.groupby(["task", "layers"])["clusters"].transform("nunique") > 1
    rows = []
    keys = ["task", "layers", "method", "clusters"]
    for (task, depth, method, number), runs in records[swept].groupby(keys, dropna=False):
        per_seed = runs.groupby("seed")["value"].median().dropna()
        rows.append(
            {
                "task": task,
                "layers": depth,
                "method": method,
                "label": runs["label"].iloc[0],
                "clusters": number,
                **cells.spread(per_seed, f"clusters {task} {depth} {method} {number}", "value"),
                "single": cells.singles(per_seed),
                "parameters": runs["parameters.trainable"].median(),
                "metric_label": table.metric_text(runs["metric"].iloc[0]),
                **cells.outcome(runs),
            }
        )
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame):
    """Draw one panel a task and depth."""
    looks, panels_of = palette.looks(frame["label"]), list(frame.groupby(["task", "layers"]))
    figure, panels = drawing.grid_of_axes(len(panels_of), columns=2, size=(4.2, 3.2))
    for axes, ((task, layers), members) in zip(panels, panels_of, strict=True):
        for label, line in members.groupby("label"):
            if line["clusters"].isna().all():
                drawing.level(axes, line["value"].iloc[0], looks[label], label)
                continue
            line = line.dropna(subset=["clusters", "value"])
            drawing.curve(axes, "clusters", line, looks[label], middle="value", name=label)
            for _, point in line.iterrows():
                single = cells.numbers(point["single"])
                place = [point["clusters"]] * len(single)
                axes.plot(place, single, ".", color=looks[label].colour, alpha=0.35, markersize=4)
        lost = members[members["value"].isna()]
        if len(lost):
            drawing.note(axes, f"no ok run: {', '.join(lost['label'])}")
        drawing.ticks_at(axes, members["clusters"])
        heading = drawing.title(f"{task}, {layers:g} layers", inches=4.2)
        axes.set(xlabel="number of meta-learners C", ylabel=members["metric_label"].iloc[0], title=heading)
    lines = set(frame[frame["clusters"].notna()]["label"])
    drawing.method_legend(figure, {label: look for label, look in looks.items() if label in lines}, line=True)
    drawing.key(
        figure,
        drawing.spread_key("band", frame["interval"]),
        "dots: single seeds",
        "dashed: a network without meta-learners",
    )
    return figure
