"""Runs in the folders of a folder, by the digest of the weights that they analyse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ddp_tasks.store import groups
from ddp_tasks.store.identity import Identity, code_of
from schemas.parameters import RunParameters
from schemas.recording import stored_identity
from schemas.run_error import RunError


@dataclass(frozen=True)
class AnalysedWeights:
    """A run's folder, and what its store was made of."""

    folder: Path
    attributes: Mapping[str, str]
    """of the store's root group."""

    def difference(self, run: RunParameters) -> str | None:
        """In what a run of the same weights would differ, in words; None if in nothing.

        Neither model nor images are opened.
        """
        identity = Identity(
            parameters=stored_identity(run),
            model_digest=None,
            images_digest=self.attributes["images_digest"],
            code=code_of(run),
        )
        return identity.refusal(self.attributes)


class AnalysedFolder:
    """The runs whose folders lie in a folder, finished or not, by the digest of their weights.

    Each is looked at once, which takes some milliseconds; folders without a store that can be read
    are left out.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._runs: dict[str, AnalysedWeights] = {}
        for folder in sorted(out.iterdir()):
            self.look_at(folder)

    def look_at(self, folder: Path) -> None:
        """Take note of a run that was carried out since."""
        try:
            attributes = groups.root_attributes(folder / "store.zarr")
        except (RunError, OSError):
            return  # of no run, or of one that has only begun
        self._runs[attributes["model_digest"]] = AnalysedWeights(folder, attributes)

    def of(self, digest: str) -> AnalysedWeights | None:
        """The run of some weights; None if there is none."""
        return self._runs.get(digest)
