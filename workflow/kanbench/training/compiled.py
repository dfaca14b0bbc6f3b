"""Compiles an evaluation that a run repeats many thousand times, where that pays and gives the same numbers.

The networks of function fitting are chains of small elementwise operations. Taken one by one, each goes through memory
and over rows of a dozen numbers; compiled, they are a few loops (torch's inductor, which needs a C++ compiler). What an
evaluation does is recorded at one point, so whether that holds elsewhere is not left to trust: the compiled evaluation
is compared with the eager one there and at a point beside it, and where it differs, or anything fails, evaluations stay
eager. The record says which and why (`time.capture`). Whether compiling pays is counted, never timed: the same run
takes the same numbers every time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

from kanbench.training import stacking

LEAST_EVALUATIONS = 5_000
"""Fewer evaluations of single runs are not worth recording one."""
LEAST_NUMBERS = 3e10
"""Numbers made by all evaluations, below which compiling costs as much as it saves: about a minute of work."""
BESIDE = 0.01
"""Size of the changes between the two points of the comparison."""

Function = Callable[..., tuple[Tensor, Tensor]]


class Eager(Exception):
    """Evaluations stay eager; the message is the reason."""


def choose(
    training: Mapping[str, Any], evaluations: int, function: Function, arguments: Sequence[Any]
) -> tuple[Function, dict[str, Any]]:
    """Return the compiled function, or the function itself, and what a record says about it.

    Args:
        training: Settings; `capture: eager` leaves every function as it is.
        evaluations: Calls of the function in the whole training.
        function: Returns losses and gradients; what it depends on are its arguments.
        arguments: The first of them is the points, shape (runs, parameters).
    """
    try:
        return _compiled(training, evaluations, function, arguments)
    except Eager as eager:
        return function, {"used": "eager", "reason": str(eager)}
    except Exception as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return function, {"used": "eager", "reason": f"the evaluation cannot be compiled: {line}"}


def _compiled(
    training: Mapping[str, Any], evaluations: int, function: Function, arguments: Sequence[Any]
) -> tuple[Function, dict[str, Any]]:
    points = arguments[0]
    if training.get("capture", "auto") == "eager":
        raise Eager("the spec says so")
    if points.device.type != "cpu":
        raise Eager(f"the device is {points.device.type}: evaluations are compiled for processors alone")
    if evaluations * len(points) < LEAST_EVALUATIONS:
        raise Eager(f"{evaluations * len(points)} evaluations are too few to pay for compiling one")
    recorder = make_fx(lambda *given: function(*given), tracing_mode="fake", _allow_non_fake_inputs=True)
    graph = recorder(*arguments)
    if evaluations * numbers(graph) < LEAST_NUMBERS:
        raise Eager("the evaluations are too small to pay for compiling one")
    fused, shapes = _fused(graph), _shapes(arguments)

    def evaluate(*others: Any) -> tuple[Tensor, Tensor]:
        return fused(*others) if _shapes(others) == shapes else function(*others)

    deviation = max(_deviation(evaluate, function, each) for each in _to_compare(arguments))
    if not deviation <= 1.0:
        raise Eager(f"the compiled evaluation differs {deviation:.3g} times as much as is allowed")
    return evaluate, {"used": "compiled", "reason": None, "deviation": deviation}


def numbers(graph: GraphModule) -> int:
    """Return how many numbers the operations of a recorded function make, views apart."""
    made = [node for node in graph.graph.nodes if node.op == "call_function" and not _is_view(node.target)]
    values = (leaf for node in made for leaf in tree_leaves(node.meta["val"]))
    return sum(value.numel() for value in values if torch.is_tensor(value))


def _is_view(operator: Any) -> bool:
    return getattr(operator, "is_view", False)


def _fused(graph: GraphModule) -> Function:
    """Return the compiled function; all of it is compiled in this process, which a watchdog may end as a whole."""
    from torch._inductor import config

    function = torch.compile(graph, fullgraph=True, dynamic=False)

    def call(*arguments: Any) -> tuple[Tensor, Tensor]:
        with config.patch(compile_threads=1), torch.no_grad():
            return function(*arguments)

    return call


def _shapes(arguments: Sequence[Any]) -> list[Any]:
    return [(leaf.shape, leaf.dtype) for leaf in tree_leaves(list(arguments))]


def _to_compare(arguments: Sequence[Any]) -> list[list[Any]]:
    points, *others = arguments
    generator = torch.Generator().manual_seed(0)
    changes = torch.randn(points.shape, generator=generator, dtype=torch.float64).to(points.dtype)
    return [[points, *others], [points + BESIDE * changes, *others]]


def _deviation(found: Function, expected: Function, arguments: Sequence[Any]) -> float:
    """Return the largest difference of the losses and of the gradients as a share of what is allowed."""
    pairs = zip(found(*arguments), expected(*arguments), strict=True)
    return max(stacking.deviation([one], [other]) for one, other in pairs)
