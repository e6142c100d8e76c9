"""A comparison of two runs as a notebook shows it."""

from __future__ import annotations

import html
from dataclasses import dataclass

import pandas as pd

from ddp_tasks.queries.comparison_tables import (
    findings_frame,
    layers_frame,
    matching_sentence,
    stable_sets,
)
from ddp_tasks.queries.model_comparison import ModelComparison


@dataclass(frozen=True)
class ComparedRuns:
    """What two networks have both learned, beside chance."""

    comparison: ModelComparison
    """all of it, pair by pair."""

    @property
    def layers(self) -> pd.DataFrame:
        """A row for each pair of layers; see ``comparison_tables.layers_frame``."""
        return layers_frame(self.comparison)

    @property
    def sets(self) -> pd.DataFrame:
        """A row for each set of classes that a vector stands for, the most stable first."""
        return findings_frame(self.comparison)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What holds in both and what does not."""
        stable = (one.sentence for one in stable_sets(self.comparison))
        return (matching_sentence(self.comparison), *stable)

    def __repr__(self) -> str:
        """Names of the networks, and the sentences."""
        names = " and ".join(network.name for network in self.comparison.networks)
        images = len(self.comparison.images.ids)
        return "\n".join([f"<{names} on {images:,} images>", *self.sentences])

    def _repr_html_(self) -> str:
        first, *others = repr(self).splitlines()
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in others)
        return f"<div><p><b>{html.escape(first.strip('<>'))}</b></p><ul>{lines}</ul></div>"
