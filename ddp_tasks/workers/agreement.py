"""What every worker must have as the flow has it: software, output folder, weights and images."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from threading import Lock

import ddp_tasks
import schemas
from ddp_tasks.files.passing_errors import passes
from ddp_tasks.images.samples import Sample
from ddp_tasks.workers.once import prepared_once
from ddp_tasks.workers.stored_run import StoredRun
from schemas.run_error import RunError

#: With these numbers, pictures and stores are made and sent between hosts.
_MUST_AGREE = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pillow",
    "zarr",
    "xarray",
    "pandas",
    "hypernetx",
    "networkx",
    "dask",
    "distributed",
)

#: Any of their releases reads what another has written.
_MAY_DIFFER = ("cloudpickle", "msgpack", "tornado")


@dataclass(frozen=True)
class Versions:
    """Versions of a host's software by name."""

    must_agree: Mapping[str, str]
    may_differ: Mapping[str, str]

    def differing(self, other: Versions) -> list[str]:
        """What must agree and does not, in words."""
        return _differing(self.must_agree, other.must_agree)

    def differing_harmlessly(self, other: Versions) -> list[str]:
        """What may differ and does, in words."""
        return _differing(self.may_differ, other.may_differ)


def _differing(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    return [
        f"{name} is {there.get(name, 'missing')} there and {version} here"
        for name, version in here.items()
        if there.get(name, "missing") != version
    ]


@cache
def versions() -> Versions:
    """Those of this process; nothing is imported for it."""
    python = platform.python_version()
    must = {
        "Python": ".".join(python.split(".")[:2]),
        "ddp-flows": f"{_version('ddp-flows')} (source {_source()})",
    }
    may = {"Python's release": python}
    for name in _MUST_AGREE:
        # What follows is how it was built, for CPUs or one release of CUDA.
        must[name], _, build = _version(name).partition("+")
        may[f"the build of {name}"] = build or "plain"
    return Versions(must, may | {name: _version(name) for name in _MAY_DIFFER})


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _source() -> str:
    """A digest of this code, which two copies of one version may differ in."""
    hashed = hashlib.sha256()
    for package in (schemas, ddp_tasks):
        folder = Path(package.__path__[0])
        for file in sorted(folder.rglob("*.py")):
            hashed.update(str(file.relative_to(folder)).encode())
            hashed.update(file.read_bytes())
    return hashed.hexdigest()[:8]


@dataclass(frozen=True)
class Witness:
    """A file that the flow has written into the output folder, for workers to find there."""

    path: Path
    content: str

    def differences(self) -> list[str]:
        """Why this host does not see the folder, or cannot write there.

        Raises
        ------
        OSError
            If that may be otherwise at the next attempt.
        """
        folder = self.path.parent
        answer = self.path.with_name(f"{self.path.name}-{socket.gethostname()}-{os.getpid()}")
        try:
            if self.path.read_text() != self.content:
                return [f"the output folder {folder} is another one there"]
            answer.write_text(self.content)
            answer.unlink()
        except OSError as error:
            if passes(error):
                raise
            why = error.strerror or error
            return [f"the output folder {folder} is not the same there ({why})"]
        return []


@dataclass(frozen=True)
class Agreement:
    """What a flow has; small enough to send with each task."""

    token: str
    """of this flow; a worker compares itself with it once."""
    versions: Versions
    witness: Witness
    stored: StoredRun | None = None
    """the run, whose store need not exist yet; None compares neither weights nor images."""
    sample: Sample | None = None
    """of the run's images."""

    def differences(self) -> list[str]:
        """How this process differs from the flow, in words; found once."""
        with _LOCK:
            if self.token not in _FOUND:
                _FOUND.clear()
                _FOUND[self.token] = self._found()
            return _FOUND[self.token]

    def _found(self) -> list[str]:
        found = [*self.versions.differing(versions()), *self.witness.differences()]
        if found or self.stored is None or self.sample is None:
            return found
        try:
            return self.sample.differences(prepared_once(self.stored).images)
        except RunError as error:
            return [str(error)]


#: The differences that this process has found, by the token of the last agreement.
_FOUND: dict[str, list[str]] = {}
_LOCK = Lock()


@dataclass(frozen=True)
class Compared:
    """A worker, compared with the flow."""

    host: str
    differences: list[str]
    harmless: list[str]


def compared(agreement: Agreement) -> Compared:
    """Compare this worker with the flow."""
    harmless = agreement.versions.differing_harmlessly(versions())
    return Compared(socket.gethostname(), agreement.differences(), harmless)
