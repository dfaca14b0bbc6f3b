"""Which meta-learner each layer of a network uses, and how that is changed."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .bases import Basis
from .clustering import assign_layers
from .definition import Defined
from .meta_learner import MetaLearner, meta_learners_for
from .mixture import MixedLearner


def grouped_learners(
    basis: Basis,
    widths: tuple[Sequence[int], Sequence[int]],
    num_clusters: int,
    clustering: str | Sequence[int],
    grouping_seed: int,
    given: MetaLearner | Sequence[MetaLearner] | None,
    **settings: object,
) -> tuple[list[int], list[MetaLearner]]:
    """Return the cluster of each layer and the meta-learners, one a cluster: those that are given, or new ones.

    ``widths`` are the input and the output widths of the layers; for the rest see `assign_layers` and
    `meta_learners_for`.
    """
    ins, outs = widths
    clusters = assign_layers(outs, num_clusters, clustering, input_widths=ins, seed=grouping_seed)
    return clusters, meta_learners_for(basis, max(clusters) + 1, given, **settings)


class SharedLearners(Defined):
    """What networks around shared meta-learners have in common, fully connected and convolutional.

    Attributes:
        meta_learners: one a cluster.
        mixtures: one a layer where the assignment is learned; otherwise empty.
    """

    basis: Basis
    layers: nn.ModuleList
    meta_learners: nn.ModuleList
    mixtures: nn.ModuleList
    _clusters: list[int]

    @property
    def clusters(self) -> list[int]:
        """The meta-learner of each layer; of the largest weight where the assignment is learned."""
        return [mixture.cluster for mixture in self.mixtures] if len(self.mixtures) else list(self._clusters)

    def _share(self, clusters: Sequence[int], learned: bool) -> None:
        """Let the layers use the meta-learners: those of their clusters, or mixtures of all."""
        self._clusters = list(clusters)
        learned = learned and len(self.meta_learners) > 1
        self.mixtures = nn.ModuleList(MixedLearner(self.meta_learners, register=False) for _ in self.layers if learned)
        used = self.mixtures if learned else [self.meta_learners[cluster] for cluster in self._clusters]
        for layer, learner in zip(self.layers, used, strict=True):
            layer.edges.use(learner)

    def definition(self) -> dict[str, object]:
        return {**super().definition(), "clusters": "learned" if len(self.mixtures) else self._clusters}

    def _differences(self, found: dict[str, object]) -> list[str]:
        """Groups of layers are restored, not compared; whether they are learned shows in the names of the tensors."""
        if isinstance(found.get("clusters"), list) and not len(self.mixtures):
            try:
                self.set_clusters(found["clusters"])
            except (TypeError, ValueError) as error:
                return [str(error)]
        return super()._differences({**found, "clusters": self.definition()["clusters"]})

    def set_clusters(self, ids: Sequence[int]) -> None:
        """Group the layers anew: layer l uses ``meta_learners[ids[l]]`` from now on; no number is changed.

        An assignment that was learned ends with it. A state dict holds the groups, and loading it restores them.

        Raises:
            ValueError, TypeError: if ``ids`` is not one id a layer that uses every meta-learner.
        """
        layers = [1] * len(self.layers)
        self._share(assign_layers(layers, len(self.meta_learners), list(ids)), learned=False)

    def anneal(self, temperature: float) -> None:
        """Set the temperature of a learned assignment (see `MixedLearner.anneal`); without one this does nothing."""
        for mixture in self.mixtures:
            mixture.anneal(temperature)

    def use_meta_learners(self, meta_learners: MetaLearner | Sequence[MetaLearner]) -> None:
        """Generate the edge numbers by these meta-learners, one a cluster, from now on; they are used, not copied.

        A learned assignment starts anew.

        Raises:
            ValueError, TypeError: if their number, basis, prompt_dim, dtype or device does not fit.
        """
        needed = {"prompt_dim": self.meta_learners[0].prompt_dim, "init": self.meta_learners[0].init}
        like = self.layers[0].edges.prompts
        learners = meta_learners_for(self.basis, len(self.meta_learners), meta_learners, like, **needed)
        self.meta_learners = nn.ModuleList(learners)
        self._share(self._clusters, learned=len(self.mixtures) > 0)
