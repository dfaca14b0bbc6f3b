"""The two ways in which edges are laid out: fully connected, and 2-D convolution."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class FullyConnected:
    """``x (batch, in)``, one edge an input and output."""

    taps: int = 1
    feature_dim: int = 2

    def contract(self, features: Tensor, numbers: Tensor) -> Tensor:
        """Sum ``features (batch, in, n_b)`` times ``numbers (out, in, n_b)`` into ``(batch, out)``."""
        return features.flatten(1) @ numbers.flatten(1).t()


@dataclass(frozen=True)
class Convolution:
    """``x (batch, in, height, width)``, one edge a kernel tap, input channel and output channel."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    prompt_layout: str = "per_edge"
    feature_dim: int = 2

    @property
    def taps(self) -> int:
        return self.kernel_size[0] * self.kernel_size[1]

    def kernel(self, numbers: Tensor) -> Tensor:
        """Turn ``numbers (out, in * taps, n_b)`` into a kernel ``(out, in * n_b, *kernel_size)``."""
        out, edges, count = numbers.shape
        if self.prompt_layout == "released":
            blocks = numbers.reshape(out, edges // self.taps, count, self.taps)
        else:
            blocks = numbers.reshape(out, edges // self.taps, self.taps, count).transpose(2, 3)
        return blocks.reshape(out, -1, *self.kernel_size)

    def contract(self, features: Tensor, numbers: Tensor) -> Tensor:
        """Convolve ``features (batch, in, n_b, height, width)`` with the kernel made of ``numbers``."""
        return nn.functional.conv2d(features.flatten(1, 2), self.kernel(numbers), None, self.stride, self.padding)

    def patches(self, x: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
        """Return the inputs of each output position ``(batch * positions, in * taps)`` and (batch, height, width)."""
        unfolded = nn.functional.unfold(x, self.kernel_size, padding=self.padding, stride=self.stride)
        height, width = self.output_size(x)
        return unfolded.transpose(1, 2).flatten(0, 1), (x.shape[0], height, width)

    def output_size(self, x: Tensor) -> tuple[int, int]:
        """Return the height and width of the output."""
        return tuple(
            (size + 2 * pad - kernel) // stride + 1
            for size, pad, kernel, stride in zip(
                x.shape[2:], self.padding, self.kernel_size, self.stride, strict=True
            )
        )
