"""Accuracy against the number of meta-learners

Deep networks whose layers share C meta-learners. Test accuracy at the step chosen on validation, median over seeds with
its 95 % interval (range below six seeds); faint markers are single seeds. Dashed lines: the dense network of the same
basis and the plain convolutions, where they were run on the task. The number of layers is that of the network, so that
C equal to it gives each layer its own meta-learner.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import style, table

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
        middle, low, high, interval = table.spread(per_seed, f"clusters {task} {depth} {method} {number}")
        rows.append(
            {
                "task": task,
                "layers": depth,
                "method": method,
                "label": runs["label"].iloc[0],
                "clusters": number,
                "value": middle,
                "low": low,
                "high": high,
                "interval": interval,
                "single": " ".join(f"{value:.6g}" for value in per_seed),
                "parameters": runs["parameters.trainable"].median(),
                "metric_label": table.metric_text(runs["metric"].iloc[0]),
                "seeds": table.status_text(runs["status"]),
                "runs": " ".join(runs["run"]),
            }
        )
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame):
    """Draw one panel a task and depth."""
    labels = sorted(frame["label"].unique())
    colours, markers = style.colours(labels), style.markers(labels)
    panels_of = list(frame.groupby(["task", "layers"]))
    figure, panels = style.grid_of_axes(len(panels_of), columns=2, size=(4.2, 3.2), legend=0.7)
    for axes, ((task, layers), members) in zip(panels, panels_of, strict=True):
        for label, line in members.groupby("label"):
            colour = colours[label]
            if line["clusters"].isna().all():
                axes.axhline(line["value"].iloc[0], color=colour, linestyle="--", linewidth=1.2)
                continue
            line = line.dropna(subset=["clusters", "value"]).sort_values("clusters")
            axes.fill_between(line["clusters"], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
            axes.plot(line["clusters"], line["value"], color=colour, marker=markers[label])
            for _, point in line.iterrows():
                single = [float(value) for value in point["single"].split()]
                axes.plot([point["clusters"]] * len(single), single, ".", color=colour, alpha=0.35, markersize=4)
        lost = members[members["value"].isna()]
        if len(lost):
            style.note(axes, f"no ok run: {', '.join(lost['label'])}")
        ticks = sorted(members["clusters"].dropna().unique())
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        title = style.title(f"{task}, {layers:g} layers", inches=4.2)
        axes.set(xlabel="number of meta-learners C", ylabel=members["metric_label"].iloc[0], title=title)
    style.method_legend(figure, labels, columns=2, line=True)
    return figure
