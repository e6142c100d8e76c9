"""Checkpoints in a folder: which there are, whether they are whole, and which weights they hold."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddp_tasks.files.whole import write_whole
from ddp_tasks.networks.models import model_digest, open_model
from schemas.parameters import ModelParameters
from schemas.paths import expanded
from schemas.run_error import RunError

#: Endings of checkpoints that PyTorch and safetensors write.
PATTERNS = ("*.pt", "*.pth", "*.ckpt", "*.safetensors")

#: In the folder of results: digests of files that have not changed since.
_INDEX = "digests.json"


@dataclass(frozen=True)
class CheckpointFile:
    """A file, as it was when the folder was read."""

    path: Path
    size: int
    changed: int
    """nanoseconds since the epoch."""

    def is_written(self, settled: float) -> bool:
        """Whether it is still being written: changed within some seconds, or since it was read."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return True
        if (now.st_size, now.st_mtime_ns) != (self.size, self.changed):
            return True
        return time.time() - self.changed / 1e9 < settled


def checkpoint_files(folder: Path, patterns: Sequence[str]) -> list[CheckpointFile]:
    """Files of a folder that match a pattern, the last changed last; hidden ones are left out.

    Raises
    ------
    RunError
        If the folder does not exist.
    """
    folder = expanded(folder, "checkpoints")
    if not folder.is_dir():
        raise RunError(f"checkpoints: {str(folder)!r} is not a folder that exists")
    matching = {path for pattern in patterns for path in folder.glob(pattern)}
    files = [path for path in matching if path.is_file() and not path.name.startswith(".")]
    read = [(path.resolve(), path.stat()) for path in files]
    found = [CheckpointFile(path, now.st_size, now.st_mtime_ns) for path, now in read]
    return sorted(found, key=lambda one: (one.changed, one.path.name))


class Digests:
    """Digests of checkpoints' weights, kept in the folder of results.

    A file of the same path, size and time of change is not opened again.
    """

    def __init__(self, out: Path, model: ModelParameters) -> None:
        """Read what is kept for a network; ``model`` is opened with each checkpoint's weights."""
        self._file, self._model = out / _INDEX, model
        # The digest covers the names that the network gives its tensors.
        self._network = model.model_copy(update={"weights": None}).model_dump_json(
            exclude={"entry", "accuracy"} if model.entry is None else {"accuracy"}
        )
        try:
            kept = json.loads(self._file.read_text())
        except (OSError, ValueError):
            kept = {}  # they are computed again
        same = isinstance(kept, dict) and kept.get("network") == self._network
        self._kept: dict[str, list[object]] = kept["files"] if same else {}

    def of(self, file: CheckpointFile) -> str:
        """The digest of a checkpoint's weights, as a store records it.

        Raises
        ------
        RunError
            If the file cannot be read or does not fit the network.
        """
        state: list[object] = [file.size, file.changed]
        kept = self._kept.get(str(file.path))
        if kept is not None and kept[:2] == state:
            return str(kept[2])
        model = self._model.model_copy(update={"weights": str(file.path)})
        digest = model_digest(open_model(model))
        self._kept[str(file.path)] = [*state, digest]
        return digest

    def keep(self, files: Sequence[CheckpointFile]) -> None:
        """Write the digests of the files that there are."""
        there = {str(file.path) for file in files}
        kept = {path: state for path, state in self._kept.items() if path in there}
        write_whole(self._file, json.dumps({"network": self._network, "files": kept}, indent=1))
