"""Layers so small that their numbers are made once and their features kept, on kernels of the basis."""

from __future__ import annotations

from torch import Tensor

from .tiled import Tiled


class Small(Tiled):
    """Takes numbers ``(out, edges, n_b)`` as its tensor, which autograd brings to where they come from.

    First derivatives cost what the plain definition's do, without its operators on each spline; higher ones keep
    no features.
    """

    def forward(self, x: Tensor, numbers: Tensor) -> tuple[Tensor, ...]:
        basis, shape, dtype = self.setting.basis, self.setting.shape, self.setting.product_dtype
        features = basis.at(x, shape.feature_dim).features().to(dtype)
        return shape.contract(features, numbers.to(dtype)), features

    def backward(self, x, tensors, kept, gradient, needed):
        (numbers,), (features,), shape = tensors, kept, self.setting.shape
        found = pulled = None
        if needed[1]:
            pulled = shape.numbers_gradient(gradient, features, numbers.shape[1], numbers.shape[2]).to(numbers.dtype)
        if needed[0]:
            inner = shape.features_gradient(gradient, numbers.to(features.dtype), x, numbers.shape[2])
            found = self.setting.basis.at(x, shape.feature_dim).pull(inner.to(x.dtype))
        return found, pulled
