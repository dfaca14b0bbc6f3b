"""The network that turns a prompt into the numbers of an edge function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from . import checks
from .bases import Basis
from .definition import Defined

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
    the layers that share it.

    Args:
        prompt_dim: numbers a prompt.
        hidden_dim: width of the hidden layer.
        numbers: numbers generated for each prompt (n_b).
        activation: "relu" (the paper), "none" (as in the released fully connected image code; the map is then
            affine and ``hidden_dim`` adds nothing but parameters), "tanh", "silu" or "gelu".
        init: "scaled" or "released", see `reset_parameters`.
        gains: standard deviation of each generated number over standard normal prompts with "scaled"; ones by default.
        basis: description of the basis that the numbers belong to (`Basis.describe`), if it is known; a layer of
            another basis then refuses the meta-learner.

    Attributes:
        provenance: what `metakan.load_meta_learner` read beside the tensors; empty otherwise.

    Raises:
        ValueError, TypeError: for sizes below one, an unknown activation or initialisation.
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
    ):
        super().__init__()
        self.prompt_dim = checks.integer("prompt_dim", prompt_dim)
        self.hidden_dim = checks.integer("hidden_dim", hidden_dim)
        self.numbers = checks.integer("numbers", numbers)
        self.activation = checks.choice("meta_activation", activation, checks.META_ACTIVATIONS)
        self.init = checks.choice("init", init, checks.INITS)
        self.gains = tuple(float(gain) for gain in gains) if gains is not None else (1.0,) * self.numbers
        if len(self.gains) != self.numbers:
            raise ValueError(f"gains: found {len(self.gains)} entries, expected {self.numbers}, one a generated number")
        self.basis = dict(basis) if basis is not None else None
        self.provenance: dict[str, object] = {}
        self.hidden = nn.Linear(self.prompt_dim, self.hidden_dim)
        self.output = nn.Linear(self.hidden_dim, self.numbers)
        self.reset_parameters()

    def forward(self, prompts: Tensor) -> Tensor:
        checks.features(type(self).__name__, prompts, self.prompt_dim, -1, self.hidden.weight)
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
        }

    def definition(self) -> dict[str, object]:
        return {"activation": self.activation, "init": self.init, "basis": self.basis}

    def tables(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return ``((W1, b1), (W2, b2))``."""
        return (self.hidden.weight, self.hidden.bias), (self.output.weight, self.output.bias)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new parameters.

        "released": Xavier-normal weights and zero biases, so that all ReLU kinks meet at the prompt 0.

        "scaled": hidden units come in pairs (u, -u) with opposite output weights, which makes the map odd, so that the
        generated numbers have mean zero over symmetric prompts (a common mean would send the same large signal to
        every output). The kinks are spread over the quantiles of a standard normal prompt and each unit is active on
        the side away from 0; the first pair kinks at 0, so that every prompt has a gradient and no unit is dead. The
        output weights are then rescaled to give each number the standard deviation in ``gains``.
        """
        if self.init == "released":
            for layer in (self.hidden, self.output):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
            return
        pairs, odd = divmod(self.hidden_dim, 2)
        size = self.hidden_dim**-0.25  # balances the step that one optimiser step takes in either layer
        directions = torch.randn(pairs + odd, self.prompt_dim)
        directions = size * directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-6)
        levels = torch.arange(pairs + odd) / max(pairs + odd, 1)
        kinks = math.sqrt(2) * torch.erfinv(levels)
        if self.activation == "none":
            kinks.zero_()
        if odd:  # the unit without a partner is kept linear over all likely prompts
            kinks[-1] = -4.0
        outputs = torch.randn(self.numbers, pairs + odd)
        self.hidden.weight.copy_(torch.cat([directions, -directions[:pairs]]))
        self.hidden.bias.copy_(-size * torch.cat([kinks, kinks[:pairs]]))
        self.output.weight.copy_(torch.cat([outputs, -outputs[:, :pairs]], dim=1))
        self.output.bias.zero_()
        prompts = self._typical_prompts()
        numbers = self(prompts)
        factors = torch.tensor(self.gains).to(numbers) / numbers.std(dim=0).clamp_min(1e-6)
        self.output.weight.mul_(factors.unsqueeze(1))
        self.output.bias.copy_(-factors * numbers.mean(dim=0))

    def _typical_prompts(self) -> Tensor:
        if self.prompt_dim > 1:
            half = torch.randn(2048, self.prompt_dim)
            return torch.cat([half, -half]).to(self.hidden.weight)
        levels = (torch.arange(4096) + 0.5) / 4096
        return (math.sqrt(2) * torch.erfinv(2 * levels - 1)).unsqueeze(1).to(self.hidden.weight)

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"


def meta_learners_for(
    basis: Basis,
    count: int,
    given: MetaLearner | Sequence[MetaLearner] | None,
    like: Tensor | None = None,
    **settings: object,
) -> list[MetaLearner]:
    """Return ``count`` meta-learners for a basis: those that are given, checked, or new ones.

    ``settings`` are prompt_dim, hidden_dim, meta_activation and init, each None if the caller left it open; new
    meta-learners then take 1, 32, "relu" and "scaled", and given ones keep theirs. ``like`` has the dtype and device of
    the prompts that they will meet; torch's defaults, in which new prompts are made, without it.

    Raises:
        TypeError: if something else than meta-learners is given, or their dtype differs.
        ValueError: if their number, their basis, their device or one of the settings differs.
    """
    if given is None:
        defaults = {"prompt_dim": 1, "hidden_dim": 32, "meta_activation": "relu", "init": "scaled"}
        chosen = defaults | {name: value for name, value in settings.items() if value is not None}
        sizes = (chosen["prompt_dim"], chosen["hidden_dim"], basis.numbers, chosen["meta_activation"])
        options = {"init": chosen["init"], "gains": basis.gains, "basis": basis.describe()}
        return [MetaLearner(*sizes, **options) for _ in range(count)]
    learners = [given] if isinstance(given, MetaLearner) else list(given)
    for position, learner in enumerate(learners):
        name = f"meta_learners[{position}]"
        _check_given(name, learner, basis, settings)
        check_placed(name, learner.hidden.weight, torch.empty(0) if like is None else like)
    if len(learners) != count:
        raise ValueError(
            f"meta_learners: found {len(learners)}, expected {count}, the number of clusters (see num_clusters)"
        )
    return learners


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
    own = {"meta_activation": learner.activation, **learner.describe()}
    for key, expected in settings.items():
        if expected is not None and own[key] != expected:
            raise ValueError(f"{name}: found {key}={own[key]!r}, expected {expected!r}; leave {key} out to take theirs")


def check_placed(name: str, tensor: Tensor, like: Tensor) -> None:
    """Raise TypeError for another dtype and ValueError for another device than those of ``like``."""
    if tensor.dtype != like.dtype:
        raise TypeError(f"{name}: found one in {tensor.dtype}, expected {like.dtype}, the dtype of the prompts")
    if tensor.device != like.device:
        raise ValueError(f"{name}: found one on {tensor.device}, expected it on {like.device}, where the prompts are")
