"""MetaKAN as Zhao et al. (2025, zhao2025) describe it: a thin adapter to the package `metakan`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import metakan
from metakan import MetaKAN, MetaLearner, MixedLearner, annealed, assign_layers, regrid
from metakan.engine.memory import Layer, layer_memory

PASSED_ON = (
    "grid_size", "spline_order", "basis", "prompt_dim", "hidden_dim", "grouping_seed", "meta_activation", "init",
    "mode",
)  # fmt: skip
OURS = ("amplitude", "separate", "shapes", "remainder_rank")
"""Settings that are not the paper's, left out where they have their defaults."""
FROM_DATA = ("activations", "coefficients")
"""Clusterings that a built network is given: by `prepare`, and by `adapt`. It is built with contiguous groups."""


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    width = problem.width(settings)
    network = MetaKAN(
        width,
        grid_range=problem.grid_range,
        num_clusters=_count(width, settings),
        clustering=_built_as(settings),
        **{name: settings[name] for name in PASSED_ON},
        **{name: settings[name] for name in OURS if name in settings},
    )
    network.asked, network.annealing_steps = settings["clustering"], settings["annealing_steps"]
    return nn.Sequential(nn.Flatten(), network)


def declines(problem, settings) -> str | None:
    """Return why the layers cannot be grouped as asked, or None."""
    width = problem.width(settings)
    try:
        assign_layers(width[1:], _count(width, settings), _built_as(settings), input_widths=width[:-1])
    except ValueError as error:
        return str(error)
    return None


def _count(width: list[int], settings) -> int:
    return len(width) - 1 if settings["num_clusters"] == "per_layer" else settings["num_clusters"]


def _built_as(settings) -> str:
    return "contiguous" if settings["clustering"] in FROM_DATA else settings["clustering"]


def prepare(model: nn.Module, batch) -> None:
    """Group the layers by what enters them for a probe batch, where that is asked for."""
    network = model[1]
    if network.asked == "activations":
        metakan.regroup_by_inputs(network, batch[0].flatten(1))
    elif network.asked == "coefficients":
        raise ValueError("clustering: coefficients needs a trained dense network (source, with adapt: oracle_groups)")


def after_step(model: nn.Module, step: int, batch) -> None:
    """Cool a learned assignment."""
    for network in model.modules():
        if isinstance(network, MetaKAN):
            network.anneal(annealed(step / network.annealing_steps))


def idle_hooks(model: nn.Module) -> tuple[str, ...]:
    """Return the hooks that do nothing for a model."""
    return () if any(isinstance(module, MixedLearner) for module in model.modules()) else ("after_step",)


def parameter_groups(model: nn.Module, settings) -> list[dict]:
    """Return meta-learners, and prompts with all else (amplitudes, remainders, a learned assignment), as two groups."""
    learners = [p for module in model.modules() if isinstance(module, MetaLearner) for p in module.parameters()]
    known = {id(parameter) for parameter in learners}
    known |= {id(module.logits) for module in model.modules() if isinstance(module, MixedLearner)}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
    return [{"name": "prompts", "params": rest}, {"name": "meta_learners", "params": learners}]


def prompts(model: nn.Module) -> list[Tensor]:
    """Return the prompts of every layer, each (outputs, inputs, prompt_dim)."""
    return [layer.prompts.detach() for layer in model[1].layers]


def clusters(model: nn.Module) -> list[int]:
    """Return the meta-learner of each layer; of the largest weight where the assignment is learned."""
    return model[1].clusters


def coefficients(model: nn.Module) -> list[Tensor]:
    """Return the numbers of each layer's edge functions, free of its width: (edges, n_b)."""
    with torch.no_grad():
        return [metakan.unit_numbers(layer.numbers(), layer.basis) for layer in model[1].layers]


def edge_functions(model: nn.Module, layer: int) -> Callable[[Tensor], Tensor]:
    """Return the edge functions of a layer: points (n,) -> values (outputs, inputs, n)."""
    return torch.no_grad()(model[1].layers[layer].edge_functions)


def along_prompts(model: nn.Module, layer: int, chosen: Tensor, points: Tensor) -> Tensor:
    """Return the functions that prompts stand for in a layer: (prompts, prompt_dim), (n,) -> (prompts, n)."""
    with torch.no_grad():
        return model[1].layers[layer].functions_of(chosen, points)


def dense_copy(model: nn.Module) -> tuple[nn.Module, list[Tensor]]:
    """Return a dense network with the same values, and its edge numbers (outputs, inputs, n_b), to be changed."""
    dense = model[1].materialize()
    return nn.Sequential(nn.Flatten(), dense), [layer.edges.weight for layer in dense.layers]


def share(networks: list[nn.Module]) -> None:
    """Make all networks generate their numbers by the meta-learners of the first one, whatever their widths."""
    for network in networks[1:]:
        network[1].use_meta_learners(networks[0][1].meta_learners)


def adapt(model: nn.Module, state: dict[str, Tensor] | None, how: str) -> None:
    """Give a new network the meta-learners of a trained one, or groups of layers that a trained dense one suggests.

    Args:
        state: The state dict of the trained network, whose layers may differ; None for `random_frozen`.
        how: `warm` takes the meta-learners as a start, `frozen` trains the prompts only, `random_frozen` freezes the
            meta-learners as they were initialised. `oracle_groups` takes no number from the dense network: layers
            whose coefficients are distributed alike share a meta-learner.
    """
    if how not in ("warm", "frozen", "random_frozen", "oracle_groups"):
        raise ValueError(f"adapt: found {how!r}, expected 'warm', 'frozen', 'random_frozen' or 'oracle_groups'")
    if how == "oracle_groups":
        metakan.regroup_by_numbers(model[1], state)
        model[1].asked = "given"
        return
    learners = model[1].meta_learners
    if how != "random_frozen":
        mark = "meta_learners."
        tensors = {name.rpartition(mark)[2]: value for name, value in state.items() if mark in name}
        for position, learner in enumerate(learners):
            own = {name.partition(".")[2]: value for name, value in tensors.items() if name.startswith(f"{position}.")}
            if not own:
                raise ValueError(
                    f"adapt: the trained network has no meta-learner {position}; equal num_clusters needed"
                )
            learner.load_state_dict(_on_grid_of(learner, own))
    if how != "warm":
        learners.requires_grad_(False)


def _on_grid_of(learner: MetaLearner, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of a meta-learner as it is on the grid of `learner`, which may be another one."""
    numbers, basis = len(state["output.bias"]), learner.basis
    if numbers == learner.numbers or basis["name"] != "bspline":
        return state
    described = {**basis, "grid_size": numbers - 1 - basis["spline_order"]}
    sizes = (learner.prompt_dim, learner.hidden_dim, numbers, learner.activation)
    source = MetaLearner(*sizes, init=learner.init, basis=described)
    source.load_state_dict(state)
    return regrid(source, basis["grid_size"]).state_dict()


def to_pykan(model: nn.Module) -> nn.Module:
    """Return the same function as a `kan.KAN`, its symbolic branch enabled; for the basis "bspline"."""
    return metakan.to_pykan(model[1])


def describe(model: nn.Module) -> dict:
    """Return how the engine evaluated the network, and the meta-learner of each layer unless that is learned."""
    network = model[1]
    return {"mode": network.mode_used, "cpu_kernels": metakan.native.active()} | (
        {} if len(network.mixtures) else {"clusters": network.clusters}
    )


def memory_terms(problem, settings, batch_size: int) -> dict | None:
    """Return the terms of the memory model, float32 (metakan/MEMORY.md); None for forms without one."""
    if settings["basis"] != "bspline" or settings["clustering"] == "learned":
        return None
    if any(settings.get(name) for name in ("amplitude", "separate", "remainder_rank")):
        return None
    width, splines = problem.width(settings), settings["grid_size"] + settings["spline_order"]
    prompt, hidden, activation = (settings[name] for name in ("prompt_dim", "hidden_dim", "meta_activation"))
    pairs = list(zip(width[:-1], width[1:], strict=True))
    layers = [
        Layer(
            inputs,
            outputs,
            batch_size,
            splines,
            prompt,
            hidden or prompt,
            activation,
            first=position == 0,
            spline_order=settings["spline_order"],
        )
        for position, (inputs, outputs) in enumerate(pairs)
    ]
    per_layer = "per_layer" in (settings["num_clusters"], settings["clustering"])
    learner = [prompt * hidden, hidden, hidden * (splines + 1), splines + 1] if hidden else [prompt * (splines + 1)]
    return {
        "tensors": [layer.parameter for layer in layers]
        + learner * (len(pairs) if per_layer else settings["num_clusters"]),
        "buffers": 0,
        "layers": [layer_memory(layer, settings["mode"]) for layer in layers],
    }
