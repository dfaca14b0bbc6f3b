"""Records work on a device so that it can be started again as a whole."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP_STEPS = 3


def cuda_graph(step: Callable[[], Tensor], clear: Callable[[], None], device: torch.device) -> Callable[[], Tensor]:
    """Return a function that replays `step` as a CUDA graph and returns the tensor that it returned.

    The step runs a few times before it is recorded, on a stream of its own: libraries allocate their workspaces,
    kernels are compiled and the optimiser makes its state. The last time, an operation that waits for the device is an
    error: it would fail while recording, too, but leave torch's allocator and generator in the midst of it.

    Args:
        step: Works in place on tensors that outlive the graph.
        clear: Frees what a step leaves behind, so that the recorded step allocates it in the memory of the graph.

    Raises:
        RuntimeError: the step cannot be recorded.
    """
    with torch.cuda.device(device):
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        spare = torch.Generator(device=generator.device)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # also gives the old stream back where the recording fails to
            for _ in range(WARM_UP_STEPS):
                step()
            _without_waiting(step)
            clear()
            side.synchronize()
            spare.set_state(generator.get_state())
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, stream=side):
                    result = step()
            except BaseException:
                # a recording that fails does not end for the generator, which would refuse to draw from now on
                generator.graphsafe_set_state(spare.graphsafe_get_state())
                clear()
                del graph
                raise
        torch.cuda.current_stream().wait_stream(side)

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def _without_waiting(step: Callable[[], Tensor]) -> None:
    """Run a step in which waiting for the device raises a RuntimeError, as far as torch notices it."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Synchronization debug mode")
        torch.cuda.set_sync_debug_mode("error")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode(before)


RECORDERS: dict[str, Callable[..., Callable[[], Tensor]]] = {"cuda": cuda_graph}
"""What records a step, by the type of the device."""
