"""A run in the form in which workers get it: the path of its store, and its parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ddp_tasks.store import groups
from ddp_tasks.store.identity import MadeOf
from schemas.parameters import RunParameters


@dataclass(frozen=True)
class StoredRun:
    """A run and its store; small enough to send with each task, and the key of workers' caches."""

    path: Path
    """path of the store."""
    run: str
    """run parameters as JSON."""
    made_of: MadeOf
    """digests of the model and images that the flow opened."""

    @classmethod
    def of(cls, path: Path, run: RunParameters) -> StoredRun:
        """A run whose store exists; workers check their model against its root attributes.

        Raises
        ------
        RunError
            If there is no store of a run at the path.
        """
        made_of = MadeOf.of_store(groups.root_attributes(path))
        return cls(path, run.model_dump_json(), made_of)

    @property
    def parameters(self) -> RunParameters:
        """The run's parameters, parsed once in each process."""
        return _parsed(self.run)

    def anywhere(self) -> StoredRun:
        """The same run without its store's path: a store is moved when it is complete."""
        return replace(self, path=Path())


@lru_cache(maxsize=4)
def _parsed(run: str) -> RunParameters:
    return RunParameters.model_validate_json(run)
