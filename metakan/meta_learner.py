"""The network that turns a prompt into the numbers of an edge function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from . import checks
from .bases import Basis
from .definition import Defined
from .shapes import shape_numbers

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "none": lambda hidden: hidden,
    "tanh": torch.tanh,
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
}


def generate(prompts: Tensor, hidden: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor], activation: str) -> Tensor:
    """Return ``W2 act(W1 z + b1) + b2`` for prompts ``(..., prompt_dim)``: the numbers ``(..., n_b)``."""
    inner = nn.functional.linear(prompts, *hidden)
    return nn.functional.linear(ACTIVATIONS[activation](inner), *output)


class MetaLearner(Defined):
    """A two-layer perceptron from prompts ``(..., prompt_dim)`` to edge numbers ``(..., numbers)`` (Zhao et al., 2025).

    It has ``(prompt_dim + 1) * hidden_dim + (hidden_dim + 1) * numbers`` trainable parameters, whatever the size of
    the layers that share it. Two forms are not the paper's. With ``hidden_dim`` 0 there is no hidden layer and no
    offset: a prompt holds the weights of ``prompt_dim`` functions, and the ``prompt_dim * numbers`` parameters are
    these functions' numbers. With ``separate`` a hidden unit reads one number of the prompt alone (unit h the number
    h mod prompt_dim), so that the map is a sum of ``prompt_dim`` curves, and has
    ``2 * hidden_dim + (hidden_dim + 1) * numbers`` parameters.

    Args:
        prompt_dim: numbers a prompt.
        hidden_dim: width of the hidden layer; 0 for none, with the activation "none".
        numbers: numbers generated for each prompt (n_b).
        activation: "relu" (the paper), "none" (as in the released fully connected image code; the map is then
            affine and ``hidden_dim`` adds nothing but parameters), "tanh", "silu" or "gelu".
        init: "scaled" or "released", see `reset_parameters`.
        gains: standard deviation of each generated number over standard normal prompts with "scaled"; ones by default.
        basis: description of the basis that the numbers belong to (`Basis.describe`), if it is known; a layer of
            another basis then refuses the meta-learner.
        separate: let each hidden unit read one number of the prompt.
        shapes: numbers ``(k, numbers)`` of functions to start from (`metakan.shapes.shape_numbers`), one a hidden unit
            or pair of units, or a number of the prompt where there is no hidden layer; random ones by default.

    Attributes:
        provenance: what `metakan.load_meta_learner` read beside the tensors; empty otherwise.

    Raises:
        ValueError, TypeError: for sizes below one (``hidden_dim``: zero), an unknown activation or initialisation, or
            settings that do not go together.
    """

    def __init__(
        self,
        prompt_dim: int,
        hidden_dim: int,
        numbers: int,
        activation: str = "relu",
        *,
        init: str = "scaled",
        gains: Sequence[float] | None = None,
        basis: Mapping[str, object] | None = None,
        separate: bool = False,
        shapes: Tensor | None = None,
    ):
        super().__init__()
        self.prompt_dim = checks.integer("prompt_dim", prompt_dim)
        self.hidden_dim = checks.integer("hidden_dim", hidden_dim, 0)
        self.numbers = checks.integer("numbers", numbers)
        self.activation = checks.choice("meta_activation", activation, checks.META_ACTIVATIONS)
        self.init = checks.choice("init", init, checks.INITS)
        self.gains = tuple(float(gain) for gain in gains) if gains is not None else (1.0,) * self.numbers
        if len(self.gains) != self.numbers:
            raise ValueError(f"gains: found {len(self.gains)} entries, expected {self.numbers}, one a generated number")
        self.basis = dict(basis) if basis is not None else None
        self.provenance: dict[str, object] = {}
        self.separate = bool(separate)
        self._shapes = shapes
        self._check_form()
        if self.hidden_dim:
            self.hidden = nn.Linear(1 if self.separate else self.prompt_dim, self.hidden_dim)
            self.output = nn.Linear(self.hidden_dim, self.numbers)
        else:
            self.output = nn.Linear(self.prompt_dim, self.numbers, bias=False)
        self.reset_parameters()

    def _check_form(self) -> None:
        if not self.hidden_dim and self.activation != "none":
            raise ValueError(
                f"meta_activation: found {self.activation!r} with hidden_dim=0, expected 'none': there is no hidden "
                "layer to apply it to"
            )
        if not self.hidden_dim and self.init == "released":
            raise ValueError("init: found 'released' with hidden_dim=0, expected 'scaled'; nothing was released so")
        if self.separate and self.hidden_dim < self.prompt_dim:
            raise ValueError(
                f"hidden_dim: found {self.hidden_dim} with separate=True, expected at least prompt_dim="
                f"{self.prompt_dim}, a hidden unit for each number of a prompt"
            )

    def forward(self, prompts: Tensor) -> Tensor:
        checks.features(type(self).__name__, prompts, self.prompt_dim, -1, self.output.weight)
        return generate(prompts, *self.tables(), self.activation)

    def describe(self) -> dict[str, object]:
        """Return what `MetaLearner` must be told to make one like this, of JSON's types."""
        return {
            "prompt_dim": self.prompt_dim,
            "hidden_dim": self.hidden_dim,
            "numbers": self.numbers,
            "activation": self.activation,
            "init": self.init,
            "gains": list(self.gains),
            "basis": self.basis,
        } | ({"separate": True} if self.separate else {})

    def definition(self) -> dict[str, object]:
        found = {"activation": self.activation, "init": self.init, "basis": self.basis}
        return found | ({"separate": True} if self.separate else {})

    def reads(self) -> Tensor:
        """Return which number of a prompt each hidden unit reads where they are separate, ``(hidden_dim,)``."""
        return torch.arange(self.hidden_dim, device=self.output.weight.device) % self.prompt_dim

    def tables(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return ``((W1, b1), (W2, b2))`` of the two-layer perceptron; ones and zeros where the form lacks a part."""
        weight = self.output.weight
        if not self.hidden_dim:
            same = torch.eye(self.prompt_dim, dtype=weight.dtype, device=weight.device)
            return (same, weight.new_zeros(self.prompt_dim)), (weight, weight.new_zeros(self.numbers))
        first = self.hidden.weight
        if self.separate:
            first = first * nn.functional.one_hot(self.reads(), self.prompt_dim).to(first)
        return (first, self.hidden.bias), (weight, self.output.bias)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new parameters.

        "released": Xavier-normal weights and zero biases, so that all ReLU kinks meet at the prompt 0.

        "scaled": hidden units come in pairs (u, -u) with opposite output weights, which makes the map odd, so that the
        generated numbers have mean zero over symmetric prompts (a common mean would send the same large signal to
        every output). The kinks are spread over the quantiles of a standard normal prompt and each unit is active on
        the side away from 0; the first pair kinks at 0, so that every prompt has a gradient and no unit is dead. The
        output weights are then rescaled to give each number the standard deviation in ``gains``; from ``shapes``, to
        give all numbers together that of the gains. Without a hidden layer the functions are drawn with the gains, or
        are the shapes, over the root of prompt_dim.
        """
        if not self.hidden_dim:
            self._reset_straight()
        elif self.init == "released":
            for layer in (self.hidden, self.output):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
        else:
            self._reset_scaled()

    def _reset_straight(self) -> None:
        weight = self.output.weight
        if self._shapes is None:
            gains = torch.tensor(self.gains).to(weight)
            weight.copy_(gains.unsqueeze(1) * torch.randn(weight.shape).to(weight))
        else:
            weight.copy_(self._started(self.prompt_dim).to(weight))
        weight.mul_(self.prompt_dim**-0.5)

    def _started(self, count: int) -> Tensor:
        """Return ``(numbers, count)`` of the functions to start from, in turn, from the first on again at the end."""
        return self._shapes[torch.arange(count) % len(self._shapes)].t()

    def _reset_scaled(self) -> None:
        pairs, odd = divmod(self.hidden_dim, 2)
        size = self.hidden_dim**-0.25  # balances the step that one optimiser step takes in either layer
        directions = torch.randn(pairs + odd, self.hidden.in_features)
        directions = size * directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-6)
        levels = torch.arange(pairs + odd) / max(pairs + odd, 1)
        kinks = math.sqrt(2) * torch.erfinv(levels)
        if self.activation == "none":
            kinks.zero_()
        if odd:  # the unit without a partner is kept linear over all likely prompts
            kinks[-1] = -4.0
        shaped = self._shapes is not None
        outputs = self._started(pairs + odd) if shaped else torch.randn(self.numbers, pairs + odd)
        self.hidden.weight.copy_(torch.cat([directions, -directions[:pairs]]))
        self.hidden.bias.copy_(-size * torch.cat([kinks, kinks[:pairs]]))
        self.output.weight.copy_(torch.cat([outputs, -outputs[:, :pairs]], dim=1))
        self.output.bias.zero_()
        numbers = self(self._typical_prompts())
        gains, found = torch.tensor(self.gains).to(numbers), numbers.std(dim=0)
        factors = gains / found.clamp_min(1e-6)
        if shaped:  # one factor, so that shapes stay what they are
            factors = (gains.square().sum() / found.square().sum()).sqrt().expand_as(gains)
        self.output.weight.mul_(factors.unsqueeze(1))
        self.output.bias.copy_(-factors * numbers.mean(dim=0))

    def _typical_prompts(self) -> Tensor:
        if self.prompt_dim > 1:
            half = torch.randn(2048, self.prompt_dim)
            return torch.cat([half, -half]).to(self.output.weight)
        levels = (torch.arange(4096) + 0.5) / 4096
        return (math.sqrt(2) * torch.erfinv(2 * levels - 1)).unsqueeze(1).to(self.output.weight)

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"


DEFAULTS: dict[str, object] = {
    "prompt_dim": 1,
    "hidden_dim": 32,
    "meta_activation": "relu",
    "init": "scaled",
    "separate": False,
    "shapes": "random",
}


def meta_learners_for(
    basis: Basis,
    count: int,
    given: MetaLearner | Sequence[MetaLearner] | None,
    like: Tensor | None = None,
    **settings: object,
) -> list[MetaLearner]:
    """Return ``count`` meta-learners for a basis: those that are given, checked, or new ones.

    ``settings`` are prompt_dim, hidden_dim, meta_activation, init, separate and shapes (a family of `metakan.shapes` or
    "random"), each None if the caller left it open; new meta-learners then take 1, 32, "relu", "scaled", False and
    "random", and given ones keep theirs. ``like`` has the dtype and device of
    the prompts that they will meet; torch's defaults, in which new prompts are made, without it.

    Raises:
        TypeError: if something else than meta-learners is given, or their dtype differs.
        ValueError: if their number, their basis, their device or one of the settings differs.
    """
    if given is None:
        chosen = DEFAULTS | {name: value for name, value in settings.items() if value is not None}
        sizes = (chosen["prompt_dim"], chosen["hidden_dim"], basis.numbers, chosen["meta_activation"])
        options = {"init": chosen["init"], "gains": basis.gains, "basis": basis.describe()}
        options |= {"separate": chosen["separate"], "shapes": _shapes(basis, chosen)}
        return [MetaLearner(*sizes, **options) for _ in range(count)]
    learners = [given] if isinstance(given, MetaLearner) else list(given)
    for position, learner in enumerate(learners):
        name = f"meta_learners[{position}]"
        _check_given(name, learner, basis, settings)
        check_placed(name, learner.output.weight, torch.empty(0) if like is None else like)
    if len(learners) != count:
        raise ValueError(
            f"meta_learners: found {len(learners)}, expected {count}, the number of clusters (see num_clusters)"
        )
    return learners


def _shapes(basis: Basis, chosen: Mapping[str, object]) -> Tensor | None:
    """Return the functions that new meta-learners start from, or None for random ones."""
    if checks.choice("shapes", chosen["shapes"], checks.SHAPES) == "random":
        return None
    straight = chosen["hidden_dim"] == 0
    count = chosen["prompt_dim"] if straight else -(-checks.integer("hidden_dim", chosen["hidden_dim"]) // 2)
    return shape_numbers(basis, chosen["shapes"], checks.integer("prompt_dim", count))


def _check_given(name: str, learner: object, basis: Basis, settings: Mapping[str, object]) -> None:
    if not isinstance(learner, MetaLearner):
        raise TypeError(f"{name}: found a {type(learner).__name__}, expected a MetaLearner")
    if learner.basis is not None and learner.basis != basis.describe():
        raise ValueError(f"{name}: found one for the basis {learner.basis}, expected {basis.describe()}")
    if learner.numbers != basis.numbers:
        raise ValueError(
            f"{name}: found one that generates {learner.numbers} numbers, expected {basis.numbers} "
            f"for the basis {basis.name!r}"
        )
    own = {"meta_activation": learner.activation, "separate": learner.separate, **learner.describe()}
    for key, expected in settings.items():
        if key == "shapes":  # how a meta-learner started is no part of what it is
            continue
        if expected is not None and own[key] != expected:
            raise ValueError(f"{name}: found {key}={own[key]!r}, expected {expected!r}; leave {key} out to take theirs")


def check_placed(name: str, tensor: Tensor, like: Tensor) -> None:
    """Raise TypeError for another dtype and ValueError for another device than those of ``like``."""
    if tensor.dtype != like.dtype:
        raise TypeError(f"{name}: found one in {tensor.dtype}, expected {like.dtype}, the dtype of the prompts")
    if tensor.device != like.device:
        raise ValueError(f"{name}: found one on {tensor.device}, expected it on {like.device}, where the prompts are")
