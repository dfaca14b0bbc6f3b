"""L-BFGS for many runs at once (Nocedal and Wright 2006, algorithm 7.4, two-loop recursion).

Each run has its own point, history, line search and end; what they share is the work: one evaluation serves the next
trial of every run, one recursion all directions. A run that is ready waits for the others of the step.

Run by run the decisions are those of `torch.optim.LBFGS` with `line_search_fn="strong_wolfe"`: the first step length
is the rate over the sum of the gradient, the rate at most, later ones are the rate; a pair of changes is kept where
their product exceeds `LEAST_CURVATURE`; a step ends after `max_iter` directions or 5/4 as many evaluations, and where
gradient, change of the parameters or change of the loss are within their tolerances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from kanbench.training.line_search import Search, Trial, strong_wolfe

LEAST_CURVATURE = 1e-10

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Returns losses, shape (runs,), and gradients, shape (runs, parameters), at points of that shape."""


class LBFGS(torch.optim.Optimizer):
    """Minimises the losses of several runs; `points`, shape (runs, parameters), are changed in place.

    Args:
        points: One row a run.
        lr: Learning rate of all runs, or a factor of their own `rates`; a scheduler may change it.
        history_size: Pairs of changes that a run keeps.
        max_iter: Directions of a run in a step.
        tolerance_grad: Largest element of a gradient at which a run rests.
        tolerance_change: Least change of parameters and loss with which a run goes on within a step.
    """

    def __init__(
        self,
        points: Tensor,
        lr: float = 1.0,
        *,
        rates: Sequence[float] | None = None,
        history_size: int = 100,
        max_iter: int = 20,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
    ):
        super().__init__([points], {"lr": lr})
        runs, size = points.shape
        self.points, self.max_iter, self.max_eval = points, max_iter, max_iter * 5 // 4
        self.tolerance_grad, self.tolerance_change = tolerance_grad, tolerance_change
        self.history = History(points.detach(), history_size)
        self.direction = points.new_zeros(runs, size)
        self.length = points.new_zeros(runs)
        self.previous = points.new_zeros(runs, size)
        self.directions = [0] * runs
        self.rates = [1.0] * runs if rates is None else list(rates)
        self._known: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def step(self, evaluate: Evaluate, going: Iterable[int] | None = None, *, renewed: bool = True) -> Tensor:
        """Take one step with the runs `going` (all by default); return the losses before it, shape (runs,).

        Args:
            evaluate: Gives losses and gradients; each run's depend on its own point alone.
            going: Numbers of the runs; the others keep their points.
            renewed: Whether losses and gradients where the last step ended have to be found again, as for other data.
        """
        runs = range(len(self.points)) if going is None else going
        if renewed or self._known is None:
            self._known = evaluate(self.points)
        before, self.gradient = self._known
        self.loss = before.tolist()
        self.ended, self.taken, self.evaluations = before.clone(), dict.fromkeys(runs, 0), dict.fromkeys(runs, 1)
        largest = self.gradient.abs().amax(1).tolist()
        searches = self._begin([run for run in runs if not largest[run] <= self.tolerance_grad])
        while searches:
            found = self._try(evaluate, searches)
            if found:
                searches.update(self._begin(self._move(found)))
        self._known = self.ended, self.gradient
        return before

    def _try(self, evaluate: Evaluate, searches: dict[int, tuple[Search, float]]) -> dict[int, Trial]:
        """Evaluate the next trial of every search; return what those have chosen that end, and take them out."""
        lengths = [0.0] * len(self.points)
        for run, (_, length) in searches.items():
            lengths[run] = length
        losses, gradients = evaluate(self._ahead(lengths, searches))
        told = torch.stack([losses, (gradients * self.direction).sum(1)]).tolist()
        found = {}
        for run, (search, length) in list(searches.items()):
            trial = Trial(length, told[0][run], told[1][run], gradients[run])
            try:
                searches[run] = search, search.send(trial)
            except StopIteration as end:
                found[run], count = end.value
                self.evaluations[run] += count
                del searches[run]
            else:
                trial.gradient = trial.gradient.clone()  # a view would keep the gradients of all runs
        return found

    def _ahead(self, lengths: Sequence[float], moving: Iterable[int]) -> Tensor:
        """Return the points, those of the runs `moving` a step length further along their directions."""
        steps = self.points.new_tensor(lengths).unsqueeze(1)
        return torch.where(self._mask(moving), self.points + steps * self.direction, self.points)

    def _mask(self, runs: Iterable[int]) -> Tensor:
        mask = torch.zeros(len(self.points), 1, dtype=torch.bool)
        mask[list(runs)] = True
        return mask.to(self.points.device)

    def _move(self, found: dict[int, Trial]) -> list[int]:
        """Go to the trials that were chosen; return the runs that go on within this step."""
        runs = list(found)
        at = torch.tensor(runs, device=self.points.device)
        lengths = [0.0] * len(self.points)
        for run, trial in found.items():
            lengths[run] = trial.step
        self.points.copy_(self._ahead(lengths, runs))
        self.length = self.length.index_copy(0, at, self.points.new_tensor([found[run].step for run in runs]))
        self.gradient = self.gradient.index_copy(0, at, torch.stack([found[run].gradient for run in runs]))
        self.ended[at] = self.ended.new_tensor([found[run].loss for run in runs])
        largest = self.gradient.abs().amax(1)
        changes = (self.direction * self.length.unsqueeze(1)).abs().amax(1)
        told = torch.stack([largest, changes]).tolist()
        return [run for run in runs if self._goes_on(run, found[run].loss, told[0][run], told[1][run])]

    def _goes_on(self, run: int, loss: float, largest: float, change: float) -> bool:
        before, self.loss[run] = self.loss[run], loss
        if self.taken[run] == self.max_iter or self.evaluations[run] >= self.max_eval:
            return False
        small = change <= self.tolerance_change or abs(loss - before) < self.tolerance_change
        return not (largest <= self.tolerance_grad or small)

    def _begin(self, runs: Sequence[int]) -> dict[int, tuple[Search, float]]:
        """Return a search along a new direction, and its first step length, for each run that has one downwards."""
        if not runs:
            return {}
        new = self._directions(runs)
        mask = self._mask(runs)
        self.direction = torch.where(mask, new, self.direction)
        self.previous = torch.where(mask, self.gradient, self.previous)
        factor, gradient = self.param_groups[0]["lr"], self.gradient
        sizes = [gradient.abs().sum(1), (gradient * self.direction).sum(1), self.direction.abs().amax(1)]
        sums, slopes, widths = torch.stack(sizes).tolist()
        searches = {}
        for run in runs:
            first, rate = self.directions[run] == 0, factor * self.rates[run]
            self.directions[run] += 1
            self.taken[run] += 1
            length = min(1.0, 1.0 / sums[run]) * rate if first else rate
            if slopes[run] > -self.tolerance_change:
                self.length[run] = length
                continue
            start = Trial(0.0, self.loss[run], slopes[run], gradient[run])
            search = strong_wolfe(start, length, widths[run], self.max_eval - self.evaluations[run])
            searches[run] = search, next(search)
        return searches

    def _directions(self, runs: Sequence[int]) -> Tensor:
        """Return new directions of all runs, of which those of `runs` count; their histories learn the last change."""
        later = [run for run in runs if self.directions[run]]
        if later:
            change = self.direction * self.length.unsqueeze(1)
            self.history.add(change, self.gradient - self.previous, self._mask(later).squeeze(1))
        return -self.history.times(self.gradient)  # without a history, the gradient itself


class History:
    """The last changes of the points and of the gradients of several runs, newest last; unused places are 0.

    Args:
        like: Has the shape, dtype and device of the points.
        size: Pairs that a run keeps.
    """

    def __init__(self, like: Tensor, size: int):
        runs, numbers = like.shape
        self.moves, self.bends = like.new_zeros(runs, size, numbers), like.new_zeros(runs, size, numbers)
        self.inverses = like.new_zeros(runs, size)
        self.scale = like.new_ones(runs)
        self.filled = 0

    def add(self, moves: Tensor, bends: Tensor, chosen: Tensor) -> None:
        """Keep a pair of each run `chosen`, shape (runs,), whose curvature is positive; the oldest gives way."""
        products = (bends * moves).sum(1)
        kept = chosen & (products > LEAST_CURVATURE)
        self.scale = torch.where(kept, products / bends.square().sum(1), self.scale)
        self.moves = _pushed(self.moves, moves, kept)
        self.bends = _pushed(self.bends, bends, kept)
        self.inverses = _pushed(self.inverses, 1.0 / products, kept)
        self.filled = min(self.filled + 1, self.moves.shape[1])

    def times(self, vectors: Tensor) -> Tensor:
        """Return the product of each run's inverse Hessian, as the history has it, and its vector."""
        places = range(self.moves.shape[1] - self.filled, self.moves.shape[1])
        shares: dict[int, Tensor] = {}
        for place in reversed(places):
            shares[place] = torch.linalg.vecdot(self.moves[:, place], vectors) * self.inverses[:, place]
            vectors = torch.addcmul(vectors, self.bends[:, place], shares[place].unsqueeze(1), value=-1)
        vectors = vectors * self.scale.unsqueeze(1)
        for place in places:
            share = torch.linalg.vecdot(self.bends[:, place], vectors) * self.inverses[:, place]
            vectors = torch.addcmul(vectors, self.moves[:, place], (shares[place] - share).unsqueeze(1))
        return vectors


def _pushed(kept: Tensor, new: Tensor, chosen: Tensor) -> Tensor:
    moved = torch.cat([kept[:, 1:], new.unsqueeze(1)], dim=1)
    return torch.where(chosen.view(-1, *[1] * new.ndim), moved, kept)
