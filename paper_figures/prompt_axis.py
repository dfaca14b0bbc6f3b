"""What a prompt means

Edge functions that the meta-learner generates along the first coordinate of the prompt, from two standard deviations
below the layer's mean prompt (dark) to two above (light), on the grid's interval: one run a task, the first seed that
is ok. Between the kinks of a ReLU meta-learner a function changes linearly with its prompt.
"""

from __future__ import annotations

import json

import matplotlib as mpl
import pandas as pd

from kanbench.pages import drawing

KIND = "figure"
EXPERIMENTS = ["E13"]
CATEGORY = "Open questions"
LAYERS = "analyses.prompt_axis.layers"
PANELS = 6


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task, layer, prompt and point of one run a task."""
    if LAYERS not in records:
        return pd.DataFrame()
    drawn = records[(records["status"] == "ok") & records[LAYERS].notna()].sort_values(["task", "label", "seed"])
    rows = []
    for task, runs in drawn.groupby("task", sort=True):
        run = runs.iloc[0]
        for number, layer in enumerate(json.loads(run[LAYERS])):
            for prompt, values in zip(layer["z"], layer["values"], strict=True):
                rows += [
                    {"task": task, "layer": number + 1, "prompt": prompt, "t": t, "value": value, "runs": run["run"]}
                    for t, value in zip(layer["t"], values, strict=True)
                ]
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame):
    """Draw a panel a task and layer."""
    panels = list(frame.groupby(["task", "layer"], sort=True))[:PANELS]
    figure, axes = drawing.grid_of_axes(len(panels), columns=3)
    for place, ((task, layer), inside) in zip(axes, panels, strict=True):
        prompts = sorted(inside["prompt"].unique())
        scale = mpl.colors.Normalize(prompts[0], prompts[-1])
        for prompt, line in inside.groupby("prompt"):
            place.plot(line["t"], line["value"], color=mpl.colormaps["viridis"](scale(prompt)), linewidth=1.2)
        figure.colorbar(mpl.cm.ScalarMappable(scale, "viridis"), ax=place, label="prompt")
        place.set(xlabel="t", ylabel="generated function", title=drawing.title(f"{task}, layer {layer}"))
    return figure
