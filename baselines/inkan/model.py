"""inkan 0.5.2 (inkan2026): cubic B-splines that are evaluated where they are not zero, and a base branch of SiLU."""

from __future__ import annotations

from importlib.metadata import version

from inkan import KANNetwork
from torch import nn


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    network = KANNetwork(
        list(problem.width(settings)),
        grid_size=settings["grid_size"],
        grid_range=tuple(problem.grid_range),
        compile_basis=settings["compiled"],
        contraction=settings["contraction"],
    )
    return nn.Sequential(nn.Flatten(), network)


def declines(problem, settings) -> str | None:
    """Return why a problem cannot be solved: compiled code of torch is differentiated once."""
    if problem.family == "pde" and settings["compiled"]:
        return "compiled: true gives no second derivatives"
    return None


def describe(model: nn.Module) -> dict[str, str]:
    """Return which package ran."""
    return {"implementation": f"inkan {version('inkan')}, upstream package"}
