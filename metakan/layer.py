"""What the fully connected and the convolutional layers share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import checks
from .bases import Basis
from .definition import Defined
from .engine import Amplified, Dense, Generated, evaluate
from .engine.budget import PLAIN_BYTES, plain_bytes
from .engine.shape import Convolution, FullyConnected
from .meta_learner import MetaLearner, meta_learners_for
from .remainder import LowRankRemainder


class Edges(Defined):
    """Edge functions of a family, and the trainable numbers that the family itself has in a layer, if any."""

    def __init__(self, basis: Basis, fan_in: int):
        super().__init__()
        self.family = basis
        self.fan_in = fan_in
        self.remainder: LowRankRemainder | None = None

    @property
    def basis(self) -> Basis:
        return self.family.bound(self.recursion) if self.family.learned else self.family

    @torch.no_grad()
    def _reset_family(self) -> None:
        """Draw the trainable numbers of the family, ``recursion``, anew."""
        if self.family.learned:
            if not hasattr(self, "recursion"):
                self.recursion = nn.Parameter(torch.empty(self.family.learned))
            self.recursion.copy_(self.family.initial(self.fan_in))


class DenseEdges(Edges):
    """Edge numbers held as a parameter ``weight (out, edges, n_b)``.

    ``init`` "scaled" draws normal numbers with the family's standard deviations for the fan-in, "released" as the
    source of the family does (`Basis.released`).
    """

    def __init__(self, outputs: int, edges: int, basis: Basis, init: str = "scaled"):
        super().__init__(basis, edges)
        self.init = checks.choice("init", init, checks.INITS)
        self.weight = nn.Parameter(torch.empty(outputs, edges, basis.numbers))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new numbers; see ``init``."""
        if self.init == "released":
            for column, (kind, deviation) in zip(
                self.weight.unbind(-1), self.family.released(*self.weight.shape[:2]), strict=True
            ):
                bound = deviation * 3**0.5
                column.normal_(std=deviation) if kind == "normal" else column.uniform_(-bound, bound)
        else:
            self.weight.normal_().mul_(self.weight.new_tensor(self.family.scales(self.fan_in)))
        self._reset_family()

    def definition(self) -> dict[str, object]:
        return {"basis": self.family.describe()}

    @property
    def parameter(self) -> Tensor:
        return self.weight

    def source(self) -> Dense:
        return Dense(self.weight)

    def curves(self) -> list[Dense]:
        """Return sources whose numbers add up to the edges': one."""
        return [self.source()]

    def numbers(self) -> Tensor:
        """Return the numbers of every edge function, ``(out, edges, n_b)``."""
        return self.weight


class MetaEdges(Edges):
    """Edge numbers generated from ``prompts (out, edges, prompt_dim)`` by a meta-learner.

    If the meta-learner M was initialised "scaled", the numbers of a prompt z are ``M(z / s)``, the amplitudes times s,
    with the constant ``s = fan-in**-0.5``, and prompts start with the standard deviation s. M then meets standard
    normal prompts in every layer, whatever its fan-in, so that it can serve layers of any width; and a step that an
    optimiser takes in z moves an amplitude as far as the same step would move a dense weight. If "released", M(z) is
    used as it is and prompts start Xavier-normal.

    With ``amplitude`` every edge has a factor of its own beside its shape, ``amplitudes (out, edges, 1)``: its numbers
    are ``a M(z)`` with a of mean zero and the standard deviation s, and prompts start standard normal.

    With ``remainder_rank`` a part of that rank is added to the generated numbers (`LowRankRemainder`), zero at first.

    With ``register=False`` the meta-learner is used but not listed among this module's children, for networks that
    hold it themselves, so that a state dict names it once.
    """

    def __init__(
        self,
        outputs: int,
        edges: int,
        basis: Basis,
        meta_learner: MetaLearner,
        register: bool = True,
        amplitude: bool = False,
        remainder_rank: int = 0,
    ):
        super().__init__(basis, edges)
        if amplitude and not all(basis.amplitude):
            raise ValueError(f"amplitude: found True with the basis {basis.name!r}, expected one linear in its numbers")
        self._held = () if register else (meta_learner,)
        if register:
            self._own = meta_learner
        self.init = meta_learner.init
        self.prompts = nn.Parameter(torch.empty(outputs, edges, meta_learner.prompt_dim))
        self.amplitudes = nn.Parameter(torch.empty(outputs, edges, 1)) if amplitude else None
        rank = checks.integer("remainder_rank", remainder_rank, 0)
        if rank:
            self.remainder = LowRankRemainder(outputs, edges, rank, basis)
        self.reset_parameters()

    @property
    def meta_learner(self) -> MetaLearner:
        return self._held[0] if self._held else self._own

    def use(self, meta_learner: MetaLearner) -> None:
        """Generate by another meta-learner of the same sizes."""
        if self._held:
            self._held = (meta_learner,)
        else:
            self._own = meta_learner

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new prompts; the meta-learner, which other layers may share, is left alone."""
        if self.amplitudes is not None:
            self.prompts.normal_()
            self.amplitudes.normal_(std=self.fan_in**-0.5)
        elif self.init == "scaled":
            self.prompts.normal_(std=self.fan_in**-0.5)
        else:
            rows = self.prompts.flatten(0, 1)
            self.prompts.normal_(std=(2 / sum(rows.shape)) ** 0.5)
        if self.remainder is not None:
            self.remainder.reset_parameters()
        self._reset_family()

    def definition(self) -> dict[str, object]:
        found = {"basis": self.family.describe(), "init": self.init}
        return found if self.amplitudes is None else found | {"amplitude": True}

    @property
    def parameter(self) -> Tensor:
        return self.prompts

    def scales(self) -> list[float]:
        """Return the constant factor on each generated number."""
        if self.init == "released":
            return [1.0] * self.family.numbers
        return [self.fan_in**-0.5 if amplitude else 1.0 for amplitude in self.family.amplitude]

    def source(self) -> Generated | Amplified:
        hidden, (weight, bias) = self.meta_learner.tables()
        if self.amplitudes is not None:
            shapes = Generated(self.prompts, hidden, (weight, bias), self.meta_learner.activation)
            return Amplified(self.amplitudes, shapes)
        if self.init == "scaled":
            scales = weight.new_tensor(self.scales())
            weight, bias = weight * scales.unsqueeze(1), bias * scales
            hidden = hidden[0] * self.fan_in**0.5, hidden[1]
        return Generated(self.prompts, hidden, (weight, bias), self.meta_learner.activation)

    def curves(self) -> list[Generated | Amplified]:
        """Return sources whose numbers add up to the edges': one for each number of a prompt that is read apart."""
        whole = self.source()
        learner = self.meta_learner
        if not getattr(learner, "separate", False) or learner.prompt_dim == 1:
            return [whole]
        shapes = whole.shapes if isinstance(whole, Amplified) else whole
        (w1, b1), (w2, b2) = shapes.hidden, shapes.output
        found = []
        for place in range(learner.prompt_dim):
            own = learner.reads() == place
            bias = b2 if place == 0 else torch.zeros_like(b2)
            prompts = self.prompts[..., place : place + 1]
            part = Generated(prompts, (w1[own, place : place + 1], b1[own]), (w2[:, own], bias), shapes.activation)
            found.append(Amplified(self.amplitudes, part) if isinstance(whole, Amplified) else part)
        return found

    def numbers(self) -> Tensor:
        """Return the numbers of every edge function, ``(out, edges, n_b)``."""
        generated = self.source().numbers()
        return generated if self.remainder is None else generated + self.remainder.numbers()


class EdgeLayer(nn.Module):
    """A layer whose connections are edge functions, with dense or generated numbers.

    Attributes:
        edges: where the numbers come from.
        mode_used: how the last forward was evaluated; None before it.
    """

    edges: DenseEdges | MetaEdges

    def __init__(self, mode: str):
        super().__init__()
        self.mode = checks.choice("mode", mode, checks.MODES)
        self.mode_used: str | None = None

    @property
    def basis(self) -> Basis:
        return self.edges.basis

    def numbers(self) -> Tensor:
        """Return the numbers of every edge function, ``(outputs, edges, n_b)``.

        ``edges`` counts the inputs of a fully connected layer, and input channels times kernel taps of a convolution.
        """
        return self.edges.numbers()

    def _evaluate(self, x: Tensor, shape: FullyConnected | Convolution) -> Tensor:
        mode = "materialized" if self.edges.family.learned else self.mode  # other forms take no gradient of a family
        curves, y, used = self.edges.curves(), None, set()
        if len(curves) > 1 and (
            mode != "auto" or plain_bytes(x, self.edges.source(), self.basis, shape) <= PLAIN_BYTES
        ):
            curves = [self.edges.source()]
        for each in curves:
            part, form = evaluate(x, each, self.basis, shape, mode)
            y = part if y is None else y + part
            used.add(form)
        self.mode_used = "+".join(sorted(used))
        return y if self.edges.remainder is None else y + self.edges.remainder(x, mode)


class GeneratedLayer(EdgeLayer):
    """An `EdgeLayer` whose numbers a meta-learner generates from prompts."""

    edges: MetaEdges

    def _generate(
        self,
        outputs: int,
        edges: int,
        basis: Basis,
        given: MetaLearner | None,
        register: bool,
        amplitude: bool = False,
        remainder_rank: int = 0,
        **settings: object,
    ) -> None:
        """Make the edges, around the meta-learner that is given or a new one (see `meta_learners_for`)."""
        (meta_learner,) = meta_learners_for(basis, 1, given, **settings)
        self.edges = MetaEdges(outputs, edges, basis, meta_learner, register, amplitude, remainder_rank)

    @property
    def prompts(self) -> nn.Parameter:
        """The prompts, ``(outputs, edges, prompt_dim)``; ``edges`` as in `numbers`."""
        return self.edges.prompts

    @property
    def meta_learner(self) -> MetaLearner:
        return self.edges.meta_learner

    def _dense(self) -> EdgeLayer:
        """Return a dense layer of the same shape."""
        raise NotImplementedError

    @torch.no_grad()
    def materialize(self) -> EdgeLayer:
        """Return a dense layer with the same values, on the same device and in the same dtype."""
        dense = self._dense().to(self.prompts)
        dense.edges.weight.copy_(self.numbers())
        if self.edges.family.learned:
            dense.edges.recursion.copy_(self.edges.recursion)
        return dense.train(self.training)
