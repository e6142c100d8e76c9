"""The models of a list, looked at before anything is started.

Little is imported here, so that a list is refused at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from flows.output_folder import check_places, output_folder
from schemas.object_paths import ObjectPath
from schemas.run_error import RunError
from schemas.shown import shown
from schemas.zoo import ZooModel, ZooParameters

#: Most checkpoints that a message names, and models whose reasons it says.
_SHOWN, _REASONS = 4, 3

#: Most processes that look at models, and models that each should have.
_MOST_LOOKERS, _SHARE = 4, 25

#: Numbers of checkpoints are read where all files together are no larger.
_MOST_BYTES = 4 * 2**30


def check_zoo_files(zoo: ZooParameters, out: Path) -> str:
    """Which checkpoints of a list cannot be read, in a sentence; empty if all can.

    Raises
    ------
    RunError
        If the folder cannot hold the results, or none of the models can be opened.
    """
    check_places(output_folder(out), folders=("capacity.zarr",), files=("capacity.html",))
    files = [model.parameters.weights_file for model in zoo.models]
    missing = [file for file in files if file is not None and not _is_readable(file)]
    if not missing:
        return ""
    names = ", ".join(shown(repr(str(file))) for file in missing[:_SHOWN])
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    if len(missing) == len(files):
        raise RunError(
            f"none of the {len(files)} checkpoints of {zoo.name} can be read: {names}{more}; "
            "folder names where they are",
            change=("folder",),
        )
    return (
        f"{len(missing)} of {len(files)} models have no checkpoint that can be read, and fail: "
        f"{names}{more}"
    )


def _is_readable(file: Path) -> bool:
    if isinstance(file, ObjectPath):
        try:
            file.check_readable()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise RunError(f"weights: {file}: {error.strerror}", change=("folder",)) from None
        return True
    return file.is_file() and os.access(file, os.R_OK)


def check_contents(zoo: ZooParameters, looked: Callable[[int], object] = lambda _: None) -> str:
    """Which models of a list cannot be opened and why, in some lines; empty if all can.

    Factories are called and checkpoints are held against their networks, in a process of its own.
    Weights that are not finite are found where all checkpoints together are at most 4 GiB.

    Parameters
    ----------
    looked
        called with the number of models that were looked at.

    Raises
    ------
    RunError
        If none of the models can be opened.
    """
    models = [model for model in zoo.models if not _is_missing(model)]
    reasons = {}
    for done, (model, why) in enumerate(zip(models, _reasons(models), strict=True), start=1):
        if why is not None:
            reasons[model.name] = why
        looked(done)
    if not reasons:
        return ""
    lines = [
        f"  {shown(name)}: {shown(why, 500)}" for name, why in list(reasons.items())[:_REASONS]
    ]
    if more := len(reasons) - len(lines):
        lines.append(f"  and {more} more")
    if len(reasons) == len(zoo.models):
        raise RunError("\n".join([f"no model of {zoo.name} can be opened:", *lines]))
    said = f"{len(reasons)} of {len(zoo.models)} models cannot be opened, and fail:"
    return "\n".join([said, *lines])


def _is_missing(model: ZooModel) -> bool:
    file = model.parameters.weights_file
    return file is not None and not _is_readable(file)


def _reasons(models: Sequence[ZooModel]) -> Iterator[str | None]:
    """Why each model would be refused, or None; a model may end the process that looks at it."""
    files = [model.parameters.weights_file for model in models]
    numbers = sum(file.stat().st_size for file in files if file is not None) <= _MOST_BYTES
    asked = [
        json.dumps({"model": model.parameters.model_dump(mode="json"), "numbers": numbers})
        for model in models
    ]
    lookers = [
        _Looker() for _ in range(min(_MOST_LOOKERS, os.cpu_count() or 1, -(-len(asked) // _SHARE)))
    ]
    free: SimpleQueue[_Looker] = SimpleQueue()
    for looker in lookers:
        free.put(looker)

    def reason(question: str) -> str | None:
        looker = free.get()
        try:
            return looker.reason(question)
        finally:
            free.put(looker)

    try:
        with ThreadPoolExecutor(max(1, len(lookers))) as pool:
            yield from pool.map(reason, asked)
    finally:
        for looker in lookers:
            looker.end()


class _Looker:
    """A process that looks at models, and ends with its standard input; started when asked."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def reason(self, question: str) -> str | None:
        """Why a model would be refused, or None."""
        if self._process is None:
            self._process = _started()
        process, answer = self._process, ""
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended, which the empty answer says
            process.stdin.write(f"{question}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        if answer:
            why: str | None = json.loads(answer)
            return why
        ended = process.wait()
        self.end()
        return f"the process that opened it ended with status {ended}"

    def end(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            with suppress(BrokenPipeError):
                self._process.communicate()
            self._process = None


def _started() -> subprocess.Popen[str]:
    places = os.pathsep.join(str(Path(place).absolute()) for place in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "ddp_tasks.networks.model_checks"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": places},
        start_new_session=True,  # Ctrl-C is for this process alone
    )
