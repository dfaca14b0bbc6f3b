"""The two ways in which edges are laid out: fully connected, and 2-D convolution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FullyConnected:
    """``x (batch, in)``, one edge an input and output; features ``(batch, in, n_b)``, numbers ``(out, in, n_b)``."""

    taps: int = 1
    feature_dim: int = 2

    def new_output(self, x: Tensor, outputs: int) -> Tensor:
        return x.new_zeros(x.shape[0], outputs)

    def contract(self, features: Tensor, numbers: Tensor) -> Tensor:
        """Sum features times numbers over inputs and basis functions into ``(batch, out)``; differentiable."""
        return features.flatten(1) @ numbers.flatten(1).t()

    def contract_into(self, y: Tensor, features: Tensor, numbers: Tensor) -> None:
        """Add `contract` to ``y``."""
        if y.dtype == features.dtype:
            y.addmm_(features.flatten(1), numbers.flatten(1).t())
        else:
            y += self.contract(features, numbers)

    def numbers_gradient(self, gradient: Tensor, features: Tensor, edges: int, count: int) -> Tensor:
        """Return the gradient of the numbers from that of the output ``(batch, out)``."""
        product = gradient.to(features.dtype).t() @ features.flatten(1)
        return product.view(gradient.shape[1], edges, count)

    def features_gradient(self, gradient: Tensor, numbers: Tensor, x: Tensor, count: int) -> Tensor:
        """Return the gradient of the features of ``x`` from that of the output ``(batch, out)``."""
        product = gradient.to(numbers.dtype) @ numbers.flatten(1)
        return product.view(*x.shape, count)


@dataclass(frozen=True)
class Convolution:
    """``x (batch, in, height, width)``, one edge a kernel tap, input channel and output channel.

    Features are ``(batch, in, n_b, height, width)`` and numbers ``(out, in * taps, n_b)``.
    """

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    prompt_layout: str = "per_edge"
    feature_dim: int = 2

    @property
    def taps(self) -> int:
        return self.kernel_size[0] * self.kernel_size[1]

    def new_output(self, x: Tensor, outputs: int) -> Tensor:
        return x.new_zeros(x.shape[0], outputs, *self.output_size(x))

    def kernel(self, numbers: Tensor) -> Tensor:
        """Turn numbers into a kernel ``(out, in * n_b, *kernel_size)``."""
        out, edges, count = numbers.shape
        if self.prompt_layout == "released":
            blocks = numbers.reshape(out, edges // self.taps, count, self.taps)
        else:
            blocks = numbers.reshape(out, edges // self.taps, self.taps, count).transpose(2, 3)
        return blocks.reshape(out, -1, *self.kernel_size)

    def numbers(self, kernel: Tensor, edges: int, count: int) -> Tensor:
        blocks = kernel.reshape(kernel.shape[0], edges // self.taps, count, self.taps)
        if self.prompt_layout != "released":
            blocks = blocks.transpose(2, 3)
        return blocks.reshape(kernel.shape[0], edges, count)

    def contract(self, features: Tensor, numbers: Tensor) -> Tensor:
        """Convolve the features with the kernel made of the numbers; differentiable."""
        return nn.functional.conv2d(features.flatten(1, 2), self.kernel(numbers), None, self.stride, self.padding)

    def contract_into(self, y: Tensor, features: Tensor, numbers: Tensor) -> None:
        """Add `contract` to ``y``."""
        y += self.contract(features, numbers)

    def kernel_gradients(
        self, gradient: Tensor, channels: Tensor, kernel: Tensor, wanted: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of a convolution's input channels and kernel, those that are ``wanted``."""
        return torch.ops.aten.convolution_backward(
            gradient, channels, kernel, None, self.stride, self.padding, (1, 1), False, (0, 0), 1, (*wanted, False)
        )[:2]

    def numbers_gradient(self, gradient: Tensor, features: Tensor, edges: int, count: int) -> Tensor:
        """Return the gradient of the numbers from that of the output."""
        channels = features.flatten(1, 2)
        kernel = channels.new_empty(1).expand(gradient.shape[1], channels.shape[1], *self.kernel_size)
        found = self.kernel_gradients(gradient.to(features.dtype), channels, kernel, (False, True))[1]
        return self.numbers(found, edges, count)

    def features_gradient(self, gradient: Tensor, numbers: Tensor, x: Tensor, count: int) -> Tensor:
        """Return the gradient of the features of ``x`` from that of the output."""
        channels = numbers.new_empty(1).expand(x.shape[0], x.shape[1] * count, *x.shape[2:])
        kernel = self.kernel(numbers)
        found = self.kernel_gradients(gradient.to(numbers.dtype), channels, kernel, (True, False))[0]
        return found.view(*x.shape[:2], count, *x.shape[2:])

    def patches(self, x: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
        """Return the inputs of each output position ``(batch * positions, in * taps)`` and (batch, height, width)."""
        unfolded = nn.functional.unfold(x, self.kernel_size, padding=self.padding, stride=self.stride)
        height, width = self.output_size(x)
        return unfolded.transpose(1, 2).flatten(0, 1), (x.shape[0], height, width)

    def output_size(self, x: Tensor) -> tuple[int, int]:
        """Return the height and width of the output."""
        return tuple(
            (size + 2 * pad - kernel) // stride + 1
            for size, pad, kernel, stride in zip(x.shape[2:], self.padding, self.kernel_size, self.stride, strict=True)
        )
