"""Numbers of one tile of edges, and the way back from their gradient; nothing here is recorded by autograd.

A generator offers

* ``numbers(start, stop)``: the numbers ``(out, stop - start, n_b)`` of a range of edges, contiguous rows;
* ``pull(start, stop, gradient)``: adds the gradient of the source's tensors, given that of these numbers;
* ``gradients()``: the sums, in the order of the source's ``tensors()``;
* ``bytes_each(n_b)``: bytes of temporaries for each edge and output in backward.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .. import native
from .curve import Curve
from .sources import Amplified, Dense, Generated


class DenseTiles:
    """The numbers are parameters."""

    def __init__(self, source: Dense):
        self.weight = source.weight
        self.gradient: Tensor | None = None

    def numbers(self, start: int, stop: int) -> Tensor:
        return self.weight[:, start:stop]

    def pull(self, start: int, stop: int, gradient: Tensor) -> None:
        if self.gradient is None:
            self.gradient = torch.empty_like(self.weight)
        self.gradient[:, start:stop] = gradient

    def gradients(self) -> tuple[Tensor, ...]:
        return (self.gradient if self.gradient is not None else torch.zeros_like(self.weight),)

    @staticmethod
    def bytes_each(source: Dense, count: int) -> int:
        return 2 * count * source.weight.element_size()


class NetworkTiles:
    """Any meta-learner: its forward is repeated in backward, a tile at a time."""

    def __init__(self, source: Generated):
        self.source = source
        self.sums: list[Tensor] | None = None
        self.prompt_gradient: Tensor | None = None

    def numbers(self, start: int, stop: int) -> Tensor:
        return replace(self.source, prompts=self.source.prompts[:, start:stop]).numbers()

    def pull(self, start: int, stop: int, gradient: Tensor) -> None:
        with torch.enable_grad():
            tensors = [tensor.detach().requires_grad_() for tensor in self.source.tensors()[1:]]
            prompts = self.source.prompts[:, start:stop].detach().requires_grad_()
            numbers = self.source.rebuild(prompts, *tensors).numbers()
            found = torch.autograd.grad(numbers, [prompts, *tensors], gradient)
        self._store(start, stop, found[0])
        if self.sums is None:
            self.sums = list(found[1:])
        else:
            torch._foreach_add_(self.sums, list(found[1:]))

    def _store(self, start: int, stop: int, gradient: Tensor) -> None:
        if self.prompt_gradient is None:
            self.prompt_gradient = torch.empty_like(self.source.prompts)
        self.prompt_gradient[:, start:stop] = gradient

    def gradients(self) -> tuple[Tensor, ...]:
        if self.sums is None:
            return tuple(torch.zeros_like(tensor) for tensor in self.source.tensors())
        return (self.prompt_gradient, *self.sums)

    @staticmethod
    def bytes_each(source: Generated, count: int) -> int:
        hidden = source.hidden[0].shape[0]
        return (3 * count + 4 * hidden + 2 * source.prompts.shape[2]) * source.prompts.element_size()


class CurveTiles(NetworkTiles):
    """Scalar prompts through ReLU: a piecewise-linear curve, by segment lookup (see `Curve`)."""

    def __init__(self, source: Generated, held: dict[str, Any] | None = None):
        super().__init__(source)
        if held and "curve" in held:
            self.curve = held["curve"].fresh()
        else:
            self.curve = Curve(source.prompts.detach(), *source.hidden, *source.output)
            if held is not None:
                held["curve"] = self.curve
        self._range: tuple[int, int] | None = None

    def _located(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return the prompts of a range and their segments; backward asks twice for each range."""
        if self._range != (start, stop):
            prompts = self.source.prompts[:, start:stop, 0].reshape(-1)
            self._range, self._found = (start, stop), (prompts, self.curve.search(prompts))
        return self._found

    def numbers(self, start: int, stop: int) -> Tensor:
        numbers = self.curve.values(*self._located(start, stop))
        return numbers.view(self.source.prompts.shape[0], stop - start, -1)

    def pull(self, start: int, stop: int, gradient: Tensor) -> None:
        found = self.curve.pull(*self._located(start, stop), gradient.reshape(-1, gradient.shape[-1]))
        self._store(start, stop, found.view(-1, stop - start, 1))

    def gradients(self) -> tuple[Tensor, ...]:
        if self.prompt_gradient is None:
            return super().gradients()
        return (self.prompt_gradient, *self.curve.gradients())

    @staticmethod
    def bytes_each(source: Generated, count: int) -> int:
        return 2 * count * source.prompts.element_size() + 40


class KernelCurveTiles(CurveTiles):
    """The same by a kernel, which reads the prompts where they lie."""

    def __init__(self, source: Generated, held: dict[str, Any] | None = None):
        super().__init__(source, held)
        table = self.curve.table.unflatten(0, (2, -1))
        self.kernel = native.Curve(table, self.curve.kinks, *(float(bound) for bound in self.curve.bounds))
        self.curve.sums = self.curve.sums.double()
        self.prompts = source.prompts.detach().contiguous()[..., 0]

    def numbers(self, start: int, stop: int) -> Tensor:
        prompts = self.prompts[:, start:stop]
        numbers = prompts.new_empty(*prompts.shape, self.curve.table.shape[1])
        self.kernel.values(prompts, numbers)
        return numbers

    def pull(self, start: int, stop: int, gradient: Tensor) -> None:
        if self.prompt_gradient is None:
            self.prompt_gradient = torch.empty_like(self.source.prompts, memory_format=torch.contiguous_format)
        found = self.prompt_gradient[:, start:stop, 0]
        self.kernel.pull(self.prompts[:, start:stop], gradient.contiguous(), found, self.curve.sums)

    @staticmethod
    def bytes_each(source: Generated, count: int) -> int:
        return 2 * count * source.prompts.element_size()


class AmplifiedTiles:
    """Generated numbers times a factor an edge; the shapes are generated again in backward."""

    def __init__(self, source: Amplified):
        self.amplitudes = source.amplitudes
        self.shapes = _kind(source.shapes)(source.shapes)
        self.gradient: Tensor | None = None

    def numbers(self, start: int, stop: int) -> Tensor:
        return self.shapes.numbers(start, stop).mul_(self.amplitudes[:, start:stop])

    def pull(self, start: int, stop: int, gradient: Tensor) -> None:
        if self.gradient is None:
            self.gradient = torch.empty_like(self.amplitudes, memory_format=torch.contiguous_format)
        shapes = self.shapes.numbers(start, stop)
        self.gradient[:, start:stop] = shapes.mul_(gradient).sum(-1, keepdim=True)
        del shapes
        self.shapes.pull(start, stop, gradient * self.amplitudes[:, start:stop])

    def gradients(self) -> tuple[Tensor, ...]:
        own = self.gradient if self.gradient is not None else torch.zeros_like(self.amplitudes)
        return (own, *self.shapes.gradients())

    @staticmethod
    def bytes_each(source: Amplified, count: int) -> int:
        return bytes_each(source.shapes, count) + 2 * count * source.amplitudes.element_size()


def make_generator(
    source: Dense | Generated | Amplified, held: dict[str, Any] | None = None
) -> DenseTiles | NetworkTiles | AmplifiedTiles:
    """Return the quickest generator for a source on its device.

    Whoever asks several times for the same source gives each time the same ``held``, at first empty: it keeps what
    does not depend on the number of edges.
    """
    kind = _kind(source)
    return kind(source, held) if issubclass(kind, CurveTiles) else kind(source)


def bytes_each(source: Dense | Generated | Amplified, count: int) -> int:
    """Return the bytes of temporaries that backward needs for each edge and output, features excepted."""
    return _kind(source).bytes_each(source, count)


def _kind(source: Dense | Generated | Amplified) -> type:
    if isinstance(source, Dense):
        return DenseTiles
    if isinstance(source, Amplified):
        return AmplifiedTiles
    prompts = source.prompts
    # The lookup's kernels are quick on CPUs; elsewhere two small matrix products are.
    if source.activation == "relu" and prompts.shape[2] == 1 and native.looked_up(prompts):
        return KernelCurveTiles if prompts.numel() and native.serves(*source.tensors()) else CurveTiles
    return NetworkTiles
