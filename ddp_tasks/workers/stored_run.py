"""A run as every function of a worker takes it: where its store is, and what was asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ddp_tasks.store import groups
from ddp_tasks.store.identity import MadeOf
from schemas.parameters import RunParameters


@dataclass(frozen=True)
class StoredRun:
    """A run and its store; small enough to send with each task, and what caches tell runs by."""

    path: Path
    """of the store."""
    run: str
    """run parameters as JSON."""
    made_of: MadeOf
    """digests of the model and images that the flow opened."""

    @classmethod
    def of(cls, path: Path, run: RunParameters) -> StoredRun:
        """A run whose store is made; workers are held to what its root attributes say.

        Raises
        ------
        RunError
            If there is no store of a run at the path.
        """
        made_of = MadeOf.of_store(groups.root_attributes(path))
        return cls(path, run.model_dump_json(), made_of)

    @property
    def parameters(self) -> RunParameters:
        """What was asked for, parsed once in each process."""
        return _parsed(self.run)

    def anywhere(self) -> StoredRun:
        """The same run wherever its store is: it is written in one place and then moved."""
        return replace(self, path=Path())


@lru_cache(maxsize=4)
def _parsed(run: str) -> RunParameters:
    return RunParameters.model_validate_json(run)
