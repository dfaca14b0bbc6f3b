"""What a wheel must hold: the layers, their types and the compiled kernels. A script, for an installed wheel."""

from importlib.resources import files

import torch

import metakan
from metakan import MetaKAN, native

assert (files(metakan) / "py.typed").is_file(), "no py.typed"
assert native.active(), "the compiled kernels are not in the wheel"
model = MetaKAN([3, 4, 2], grid_size=5, hidden_dim=8)
x = torch.rand(6, 3) * 2 - 1
model(x).square().sum().backward()
assert all(parameter.grad is not None for parameter in model.parameters())
dense = model.materialize()
torch.testing.assert_close(dense(x), model(x), rtol=1e-4, atol=1e-5)
print("metakan", native.active(), sum(p.numel() for p in model.parameters()))
