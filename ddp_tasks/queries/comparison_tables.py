"""A comparison of networks as tables, and in sentences that say what holds and what does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ddp_tasks.hypergraphs.survival import SetCounts, classes_of
from ddp_tasks.queries.compared_layers import LayerComparison
from ddp_tasks.queries.model_comparison import ModelComparison

#: What is beyond chance: above this share of the draws.
PERCENTILE = 0.95


def layers_frame(comparison: ModelComparison) -> pd.DataFrame:
    """A row for each pair of networks and layer of the first of them.

    Returns
    -------
    columns a, b (networks), layer_a, layer_b, images, and the numbers of ``LayerComparison``;
    columns that end in permuted, within_classes, renamed, turned and varied tell what chance gives
    """
    rows = []
    for pair in comparison.pairs:
        names = (comparison.networks[pair.a].name, comparison.networks[pair.b].name)
        rows += [{"a": names[0], "b": names[1], **_row(layer)} for layer in pair.layers]
    return pd.DataFrame(rows)


def _row(layer: LayerComparison) -> dict[str, object]:
    vectors, subspaces, angles = layer.vectors, layer.subspaces, layer.angles
    return {
        "layer_a": layer.a,
        "layer_b": layer.b,
        "images": layer.images,
        "cka": layer.cka,
        "signal_cosine": angles.cosine,
        "signal_cosine_permuted": angles.permuted,
        "channels_correspond": angles.correspondence.corresponds,
        "left_vectors": angles.leading,
        "left_cosine": angles.left_cosine,
        "vectors": len(vectors.a),
        "vectors_matched": int(vectors.matched.sum()),
        "vectors_matched_beyond_classes": int(vectors.beyond_classes.sum()),
        "correlation": _median(vectors.agreement),
        "correlation_permuted": _median(vectors.permuted),
        "correlation_within_classes": _median(vectors.within_classes),
        "correlation_turned": _median(vectors.turned),
        "subspaces": len(subspaces.a),
        "subspaces_matched": int(subspaces.matched.sum()),
        "nodes_a": layer.nodes[0],
        "nodes_b": layer.nodes[1],
        "surviving": layer.surviving.share,
        "surviving_renamed": layer.surviving.renamed,
        "surviving_turned": layer.surviving.turned,
        "surviving_varied": layer.surviving.varied,
        "incidences_kept": layer.incidences.share,
        "incidences_kept_renamed": layer.incidences.renamed,
        "fraction_difference": layer.fraction_difference,
        "fractions_changed": layer.fractions_changed,
        "sets_jaccard": layer.sets,
        "edges_jaccard": layer.edges,
    }


def _median(values: npt.NDArray[np.float64]) -> float:
    return float(np.median(values)) if values.size else float("nan")


def findings_frame(comparison: ModelComparison) -> pd.DataFrame:
    """A row for each set of target classes of a layer, the most stable first.

    Returns
    -------
    columns layer (of the first network), target_classes (names joined by commas), classes (how
    many), networks (that have it), of, renamed, turned and varied (mean numbers by chance),
    found_in
    """
    rows = []
    names = [network.name for network in comparison.networks]
    for layer, counts in comparison.counts.items():
        for i, members in enumerate(counts.sets):
            classes = classes_of(members)
            rows.append(
                {
                    "layer": layer,
                    "target_classes": ", ".join(comparison.images.classes[c] for c in classes),
                    "classes": len(classes),
                    "networks": int(counts.found[i].sum()),
                    "of": len(names),
                    "renamed": float(counts.renamed[i]),
                    "turned": float(counts.turned[i]),
                    "varied": float(counts.varied[i]),
                    "found_in": ", ".join(
                        name for name, has in zip(names, counts.found[i], strict=True) if has
                    ),
                }
            )
    columns = [
        "layer", "target_classes", "classes", "networks", "of", "renamed", "turned", "varied",
        "found_in",
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns)
    return frame.sort_values(["networks", "renamed"], ascending=[False, True], kind="stable")


@dataclass(frozen=True)
class Stable:
    """How many sets of classes of a layer most networks have, beside chance."""

    layer: str
    sets: int
    """of any network."""
    stable: int
    """of at least ``least`` networks."""
    least: int
    renamed: tuple[float, float]
    """mean, and 95th percentile, with permuted names of classes."""
    turned: tuple[float, float]
    """mean, and 95th percentile, in random bases."""
    varied: tuple[float, float]
    """mean, and 95th percentile, in random bases that keep variances."""

    @classmethod
    def of(cls, layer: str, counts: SetCounts) -> Stable:
        """Count the sets that all networks but one have, or both of two."""
        networks = counts.found.shape[1]
        least = max(networks - 1, 2)
        return cls(
            layer=layer,
            sets=len(counts.sets),
            stable=int(counts.stable[least - 1]),
            least=least,
            renamed=_chance(counts.stable_renamed[:, least - 1]),
            turned=_chance(counts.stable_turned[:, least - 1]),
            varied=_chance(counts.stable_varied[:, least - 1]),
        )

    @property
    def beyond_names(self) -> bool:
        """Whether there are more than permuted names give."""
        return self.stable > self.renamed[1]

    @property
    def beyond_bases(self) -> bool:
        """Whether there are more than random bases of either kind give."""
        return self.stable > max(self.turned[1], self.varied[1])

    @property
    def sentence(self) -> str:
        """What holds, and what does not."""
        sets = f"{self.stable} set{'' if self.stable == 1 else 's'} of classes"
        held = f"{self.layer}: {sets} in at least {self.least} networks"
        chance = (
            f"{self.renamed[0]:.1f} by permuted names, {self.turned[0]:.1f} in random bases, "
            f"{self.varied[0]:.1f} in those that keep variances"
        )
        if not self.stable:
            return f"{held} ({chance})"
        if self.beyond_names and self.beyond_bases:
            said = "more than any of these"
        elif self.beyond_names:
            said = "more than names by chance, but no more than random bases"
        elif self.beyond_bases:
            said = "more than random bases, but no more than names by chance"
        else:
            said = "no more than chance"
        return f"{held} ({chance}): {said}"


def _chance(values: npt.NDArray[np.int64]) -> tuple[float, float]:
    if not len(values):
        return float("nan"), float("inf")
    return float(values.mean()), float(np.quantile(values, PERCENTILE))


def stable_sets(comparison: ModelComparison) -> list[Stable]:
    """For each layer of the first network, the sets that most networks have."""
    return [Stable.of(layer, counts) for layer, counts in comparison.counts.items()]


def matching_sentence(comparison: ModelComparison) -> str:
    """Whether singular vectors match better one to one than vectors of a random basis do."""
    frame = layers_frame(comparison)
    better = frame["correlation"] > [
        float(np.quantile(np.median(layer.vectors.turned, axis=1), PERCENTILE))
        if layer.vectors.turned.size
        else float("inf")
        for pair in comparison.pairs
        for layer in pair.layers
    ]
    n, of = int(better.sum()), len(frame)
    said = (
        f"In {n} of {of} pairs of layers the singular vectors match one to one better than 95 % of "
        "random bases of the same layer do"
    )
    if n <= of / 2:
        return f"{said}; in the others a basis drawn at random matches as well."
    return f"{said}."
