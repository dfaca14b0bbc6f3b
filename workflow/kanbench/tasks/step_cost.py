"""Random inputs and labels, flat or images: nothing to learn, only a step to be measured."""

from __future__ import annotations

import math

import torch
from torch import nn

from kanbench.base import seeds
from kanbench.tasks.images import classification_metrics
from kanbench.tasks.task import Problem, TensorTask


def load(info, settings, *, seed, dtype, device, data_root=None) -> TensorTask:
    """Draw one batch, uniform in [-1, 1], which serves as every split."""
    image = (settings["channels"], *(settings["image_size"],) * 2) if "image_size" in settings else ()
    problem = Problem(info.family, math.prod(image) if image else settings["inputs"], settings["outputs"], image)
    random = seeds.generator(seed, "step cost", device)
    shape = (settings["batch_size"], *problem.input_shape)
    inputs = 2 * torch.rand(shape, generator=random, device=device, dtype=torch.float32) - 1
    targets = torch.randint(settings["outputs"], shape[:1], generator=random, device=device)
    splits = dict.fromkeys(("train", "validation", "test"), (inputs.to(dtype), targets))
    data = {"name": "random batch", "fingerprint": f"seed {seed}", "canonical": True}
    return TensorTask(info, problem, splits, data, nn.functional.cross_entropy, classification_metrics, {})
