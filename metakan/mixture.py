"""A learned choice among meta-learners."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from . import checks
from .meta_learner import MetaLearner, check_placed, generate

HOT, COLD = 1.0, 0.05


def annealed(progress: float) -> float:
    """Return the temperature of an assignment: from 1 down to 0.05 in equal ratios, then 0, a hard choice.

    ``progress`` is the share of the annealing that is over; from 1 on the choice is hard.
    """
    return HOT * (COLD / HOT) ** progress if progress < 1 else 0.0


class MixedLearner(nn.Module):
    """A layer's mixture ``M(z) = sum_c p_c M_c(z)`` of meta-learners that other layers use too.

    The weights are ``p = softmax(a / temperature)`` divided by their Euclidean norm, with trainable logits a ``(C,)``:
    the sum of independent meta-learners then has the variance of one of them whatever the weights, so that "scaled"
    initialisation holds for a mixture as well. At temperature 0 the weights are exactly 0 and one 1, and the layer
    belongs to the meta-learner of the largest logit. A mixture of two-layer networks with one activation is a two-layer
    network, their hidden layers side by side, so that every engine evaluates it like any meta-learner.

    Args:
        learners: the meta-learners, all of the same prompt_dim, numbers, activation, initialisation and basis.
        temperature: at the start; see `anneal`.
        register: False if the meta-learners are registered elsewhere, so that a state dict names them once.

    Raises:
        ValueError, TypeError: for meta-learners that differ, fewer than two, or a negative temperature.
    """

    temperature: Tensor

    def __init__(self, learners: Sequence[MetaLearner], temperature: float = 1.0, register: bool = True):
        super().__init__()
        first = _checked(learners)
        self._held = () if register else tuple(learners)
        if register:
            self._own = nn.ModuleList(learners)
        self.prompt_dim, self.numbers, self.activation = first.prompt_dim, first.numbers, first.activation
        self.hidden_dim = sum(learner.hidden_dim for learner in learners)
        self.init, self.basis = first.init, first.basis
        self.logits = nn.Parameter(first.output.weight.new_zeros(len(learners)))
        self.register_buffer("temperature", self.logits.new_tensor(1.0))
        self.anneal(temperature)

    @property
    def learners(self) -> tuple[MetaLearner, ...]:
        return self._held or tuple(self._own)

    @torch.no_grad()
    def anneal(self, temperature: float) -> None:
        """Set the temperature; 0 makes the choice hard, and the logits then have no gradient but zero."""
        if not temperature >= 0:
            raise ValueError(f"temperature: found {temperature!r}, expected a number >= 0")
        self.temperature.fill_(temperature)

    @property
    def cluster(self) -> int:
        """The meta-learner of the largest weight."""
        return int(self.logits.detach().argmax())

    def weights(self) -> Tensor:
        """Return the weight of each meta-learner, ``(C,)``, of Euclidean norm 1."""
        warm = self.temperature > 0
        soft = torch.softmax(self.logits / torch.where(warm, self.temperature, 1.0), dim=0)
        hard = nn.functional.one_hot(self.logits.argmax(), len(self.logits)).to(soft)
        return torch.where(warm, soft / soft.norm(), hard)

    def tables(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return ``((W1, b1), (W2, b2))`` of the two-layer network that the mixture is."""
        weights = self.weights()
        hidden, output = zip(*(learner.tables() for learner in self.learners), strict=True)
        inner = tuple(torch.cat(parts) for parts in zip(*hidden, strict=True))
        matrix = torch.cat([weight * table for weight, (table, _) in zip(weights, output, strict=True)], dim=1)
        return inner, (matrix, weights @ torch.stack([bias for _, bias in output]))

    def forward(self, prompts: Tensor) -> Tensor:
        checks.features(type(self).__name__, prompts, self.prompt_dim, -1, self.logits)
        return generate(prompts, *self.tables(), self.activation)

    def extra_repr(self) -> str:
        return f"learners={len(self.logits)}, temperature={float(self.temperature):g}"


def _checked(learners: Sequence[MetaLearner]) -> MetaLearner:
    """Return the first of meta-learners that can be mixed."""
    if len(learners) < 2:
        raise ValueError(f"learners: found {len(learners)}, expected at least two to choose from")
    for position, learner in enumerate(learners):
        if not isinstance(learner, MetaLearner):
            raise TypeError(f"learners[{position}]: found a {type(learner).__name__}, expected a MetaLearner")
        for name in ("prompt_dim", "numbers", "activation", "init", "basis"):
            found, expected = (getattr(each, name) for each in (learner, learners[0]))
            if found != expected:
                raise ValueError(f"learners[{position}]: found {name}={found!r}, expected {expected!r}")
        check_placed(f"learners[{position}]", learner.output.weight, learners[0].output.weight)
    return learners[0]
