"""KANs with polynomial edge functions: Legendre and Gram (Drokin 2024, drokin2024), Chebyshev (Sidharth et al. 2024).

    φ_oi(x) = Σ_n c_oin · P_n(tanh x) + v_oi · SiLU(x)

Dense coefficients, evaluated by the engine of the package `metakan`; its Gram polynomials are orthogonal on degree + 5
points. The Chebyshev form (sidharth2024) has no base weight v. The published layers rescale by the extremes of the
batch, normalise, or change the Gram polynomials; here tanh bounds the argument in all three, so that they differ in
nothing but the polynomials. `form: released` has the Gram layers' SiLU of each polynomial and their trainable
recursion, `init: released` the start of the sources: normal with deviation 1 / (inputs · (degree + 1)) for Chebyshev
(sidharth2024), uniform by Kaiming's rule with the outputs among the inputs for Gram (drokin2024).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from metakan import KAN
from metakan.bases import Gram


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    degree, basis = settings["degree"], settings["basis"]
    if basis == "gram" and settings["form"] == "released":
        basis = Gram(degree, degree + 5, form="released")
    network = KAN(
        problem.width(settings), basis=basis, spline_order=degree, init=settings["init"], mode=settings["mode"]
    )
    return nn.Sequential(nn.Flatten(), network)


def edge_functions(model: nn.Module, layer: int) -> Callable[[Tensor], Tensor]:
    """Return the edge functions of a layer: points (n,) -> values (outputs, inputs, n)."""
    return torch.no_grad()(model[1].layers[layer].edge_functions)


def describe(model: nn.Module) -> dict[str, str]:
    """Return how the engine evaluated the network."""
    return {"mode": model[1].mode_used}
