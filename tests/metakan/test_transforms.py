"""Every basis and form under torch's recorders and transforms: traces, graphs, exports, torch.func, forward mode."""

from __future__ import annotations

import io

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from metakan import BASES, KAN, ConvKAN, MetaConvKAN, MetaKAN
from metakan.bases import Gram

FAMILIES = [*BASES, Gram(3, 8, form="released")]
KINDS = {
    "dense": lambda basis: KAN([3, 4, 2], basis=basis),
    "dense, tiled": lambda basis: KAN([3, 4, 2], basis=basis, mode="tiled"),
    "generated": lambda basis: MetaKAN([3, 4, 2], basis=basis, hidden_dim=6),
    "generated, tiled": lambda basis: MetaKAN([3, 4, 2], basis=basis, hidden_dim=6, mode="tiled"),
    "affine": lambda basis: MetaKAN([3, 4, 2], basis=basis, meta_activation="none", mode="tiled"),
    "convolution": lambda basis: ConvKAN((3, 2), in_channels=2, basis=basis, mode="tiled"),
    "generated convolution": lambda basis: MetaConvKAN((3, 2), in_channels=2, basis=basis, mode="tiled"),
}
WIDE = {  # so wide that "auto" evaluates them tile by tile, or by shared functions
    "dense, wide": lambda: KAN([3, 600, 600, 2]),
    "generated, wide": lambda: MetaKAN([3, 300, 300, 2], hidden_dim=6),
    "affine, wide": lambda: MetaKAN([3, 40, 2], meta_activation="none"),
}


def made(kind: str, basis=None) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """Return a network in double precision, a batch, and a batch of another size."""
    torch.manual_seed(0)
    model = (WIDE[kind]() if basis is None else KINDS[kind](basis)).double().eval()
    shape = (2, 5, 5) if "convolution" in kind else (3,)
    return model, *(torch.randn(rows, *shape, dtype=torch.float64) for rows in (4, 7))


def label(value: object) -> str:
    return value if isinstance(value, str) else "gram, released"


every_form = pytest.mark.parametrize(
    ("kind", "basis"), [(kind, basis) for kind in KINDS for basis in FAMILIES], ids=label
)


@every_form
def test_traces_are_stored_and_hold_for_other_batches(kind, basis):
    model, x, other = made(kind, basis)
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(model, x, check_trace=False), file)
    file.seek(0)
    assert torch.allclose(torch.jit.load(file)(other), model(other), atol=1e-9)


RECORDED = [(kind, basis) for kind in ("dense", "generated, tiled") for basis in FAMILIES]
RECORDED += [("generated convolution", basis) for basis in ("bspline", "rbf")]


@pytest.mark.parametrize(("kind", "basis"), RECORDED, ids=label)
def test_graphs_and_exports_hold_for_other_batches(kind, basis):
    model, x, other = made(kind, basis)
    graph = make_fx(model, tracing_mode="symbolic", _allow_non_fake_inputs=True)(x)
    exported = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=2)},)).module()
    for recorded in (graph, exported):
        assert torch.allclose(recorded(other), model(other), atol=1e-9)


@pytest.mark.parametrize("basis", FAMILIES, ids=label)
@pytest.mark.parametrize("kind", ["dense", "generated, tiled", "affine", "convolution", "generated convolution"])
def test_files_of_onnx_compute_the_same(kind, basis):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model, x, other = made(kind, basis)
    file, names = io.BytesIO(), {"input_names": ["x"], "output_names": ["y"]}
    sizes = {"x": {0: "batch"}, "y": {0: "batch"}}
    torch.onnx.export(model.float(), (x.float(),), file, dynamo=False, dynamic_axes=sizes, **names)
    session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": other.float().numpy()})
    assert torch.allclose(torch.from_numpy(found), model(other.float()), atol=1e-4)


def directional(model, x, direction) -> torch.Tensor:
    """Return the derivative along a direction by central differences."""
    step = 1e-6
    return ((model(x + step * direction) - model(x - step * direction)) / (2 * step)).detach()


def check_func(model, x):
    """Compare what torch.func and forward mode give with autograd and with differences."""
    parameters = {name: value.detach() for name, value in model.named_parameters()}

    def loss(parameters, point):
        return functional_call(model, parameters, (point.unsqueeze(0),)).sin().sum()

    found = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    expected = torch.autograd.grad(model(x[:1]).sin().sum(), list(model.parameters()))
    for ours, theirs in zip(found.values(), expected, strict=True):
        assert torch.allclose(ours[0], theirs, atol=1e-8)

    def point(z):
        return model(z.unsqueeze(0))[0]

    reverse = jacrev(point)(x[0])
    assert torch.allclose(jacfwd(point)(x[0]), reverse, atol=1e-8)
    assert torch.allclose(vmap(jacfwd(point))(x)[0], reverse, atol=1e-8)
    direction = torch.randn_like(x)
    expected = directional(model, x, direction)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(model(forward_ad.make_dual(x, direction))).tangent
    assert torch.allclose(tangent, expected, atol=1e-5)
    ones = {name: torch.ones_like(value) for name, value in parameters.items()}
    y, tangent = jvp(lambda values: functional_call(model, values, (x,)), (parameters,), (ones,))
    cotangent = torch.randn_like(y)
    pulled = torch.autograd.grad((model(x) * cotangent).sum(), list(model.parameters()))
    expected = sum(gradient.sum() for gradient in pulled)
    assert torch.allclose((tangent * cotangent).sum(), expected, rtol=1e-9, atol=1e-8)


@every_form
def test_transforms_agree_with_autograd(kind, basis):
    model, x, _ = made(kind, basis)
    check_func(model, x)


@pytest.mark.parametrize("kind", WIDE)
def test_wide_layers_transform_like_narrow_ones(kind):
    model, x, other = made(kind)
    check_func(model, x[:2])
    assert torch.allclose(torch.jit.trace(model, x, check_trace=False)(other), model(other), atol=1e-9)


@pytest.mark.parametrize("basis", FAMILIES, ids=label)
@pytest.mark.parametrize("kind", ["dense", "generated, tiled", "affine"])
def test_hessians_agree_whichever_way_they_are_taken(kind, basis):
    model, x, _ = made(kind, basis)

    def point(z):
        return model(z.unsqueeze(0)).sin().sum()

    forward_over_reverse, reverse_twice = hessian(point)(x[0]), jacrev(jacrev(point))(x[0])
    plain = torch.autograd.functional.hessian(point, x[0])
    assert torch.allclose(forward_over_reverse, plain, atol=1e-8)
    assert torch.allclose(reverse_twice, plain, atol=1e-8)
