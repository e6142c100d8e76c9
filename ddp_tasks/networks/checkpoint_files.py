"""Reading checkpoint files without running code: torch's own formats and safetensors."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from schemas.object_paths import ObjectPath
from schemas.parameters import RunError
from schemas.shown import error_shown

#: Greatest depth and number of containers in which mappings of tensors are searched.
_DEEPEST, _MOST_CONTAINERS = 8, 10_000

_SAFETENSORS = ".safetensors"

#: First bytes of files that are no checkpoints but often lie in the place of one.
_STAND_INS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself (git lfs pull gets it)",
    b"<!doctype": "a web page",
    b"<html": "a web page",
}

_SAVE_STATE_DICT = (
    "Save the tensors alone in the program that made it:\n"
    "  state = {name: tensor.cpu() for name, tensor in model.state_dict().items()}\n"
    '  torch.save(state, "weights.pt")'
)


#: How transformers and diffusers name the parts of a checkpoint and the list of them.
_INDEX, _PART = ".index.json", re.compile(r"-(\d{5})-of-(\d{5})\.\w+$")

_JOIN_PARTS = (
    "Save the tensors of all parts into one file in the program that made them:\n"
    "  state = {name: tensor.cpu() for name, tensor in model.state_dict().items()}\n"
    '  torch.save(state, "weights.pt")'
)


def joining_advice(path: Path) -> str:
    """Says that a file is one part of a checkpoint, and what to do; empty if its name is not."""
    if (part := _PART.search(path.name)) is None:
        return ""
    return f"The file is part {int(part[1])} of {int(part[2])} of a checkpoint. {_JOIN_PARTS}"


def named_tensors(path: Path, *, mapped: bool = False) -> dict[str, OrderedDict[str, Any]]:
    """All mappings of names to tensors in a checkpoint, by their dotted path in it.

    Mappings keep their other values too, such as a quantised layer's parameters. The outermost
    comes first; the path of the file's own mapping is empty.

    Parameters
    ----------
    mapped
        whether numbers are read when they are used, where the file's format allows it.

    Raises
    ------
    RunError
        If the file does not exist, cannot be read without running code, or holds no tensors.
    """
    content = read_checkpoint(path, mapped=mapped)
    mappings = dict(_mappings(content))
    if not mappings:
        raise RunError(
            f"model.weights: {str(path)!r} holds no state dict (tensors by name), but "
            f"{_described(content)}"
        )
    return mappings


def read_checkpoint(path: Path, *, mapped: bool = False) -> Any:
    """The content of a checkpoint, on the CPU; no code in it is run.

    Parameters
    ----------
    mapped
        as in ``named_tensors``; safetensors always are.

    Raises
    ------
    RunError
        If it cannot be read that way, naming the object that needs code, and what to do.
    """
    if isinstance(path, ObjectPath):
        return _read_object(path)
    if path.is_dir():
        raise RunError(f"model.weights: {str(path)!r} is a folder; name the checkpoint in it")
    if not path.is_file():
        raise RunError(
            f"model.weights: file {str(path)!r} does not exist", change=("model.weights",)
        )
    try:
        if path.suffix.lower() == _SAFETENSORS:
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():
            # Torch warns of protocols and archives, and then reads or refuses them.
            warnings.simplefilter("ignore")
            # Torch's old format is no archive, and cannot be mapped.
            mmap = mapped and zipfile.is_zipfile(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # noqa: BLE001 - torch may raise anything for damaged files
        raise RunError(f"model.weights: {str(path)!r} {_why_unread(path, error)}") from None


def is_checkpoint_file(path: Path) -> bool:
    """Whether there is a file, or an object, in which a checkpoint may be.

    Raises
    ------
    RunError
        If an object store does not say so within seconds, naming the address and the cause.
    """
    if not isinstance(path, ObjectPath):
        return path.is_file()
    with _refused(path):
        try:
            path.check_readable()
        except FileNotFoundError:
            return False
    return True


@contextmanager
def _refused(path: ObjectPath) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise RunError(
            f"model.weights: there is no object {str(path)!r}", change=("model.weights",)
        ) from None
    except OSError as error:
        raise RunError(
            f"model.weights: {str(path)!r} cannot be read: {error.strerror}",
            change=("model.weights",),
        ) from error


def _read_object(path: ObjectPath) -> Any:
    """The content of a checkpoint at an address, read into memory."""
    with _refused(path):
        path.check_readable()
        content = path.read_bytes()
    with TemporaryDirectory(prefix="ddp-") as folder:
        file = Path(folder) / path.name
        file.write_bytes(content)
        try:
            return read_checkpoint(file)
        except RunError as error:
            raise RunError(str(error).replace(repr(str(file)), repr(str(path)))) from None


def printable(name: str) -> str:
    """A name from a file, made safe to print and shortened."""
    name = name if len(name) <= 80 else f"{name[:77]}..."
    return name if name.isprintable() else ascii(name)


def _why_unread(path: Path, error: Exception) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as refused:
        return f"cannot be read: {refused.strerror}"
    text = str(error)
    if "TorchScript" in text:
        return f"is a TorchScript archive, a program with its weights. {_SAVE_STATE_DICT}"
    if named := re.search(r"GLOBAL ([\w.]+)|(?:class|global) ([\w.]+\.[\w.]+)", text):
        name = printable(named[1] or named[2])
        return f"holds {name}, which cannot be read without running code. {_SAVE_STATE_DICT}"
    if isinstance(error, MemoryError | OSError):
        return f"cannot be read: {error_shown(error)}"
    return f"is no checkpoint: it is {_what_it_is(path, start)}"


def _what_it_is(path: Path, start: bytes) -> str:
    """What a file is that is no checkpoint, judged by its first bytes and its name."""
    if not start:
        return "empty"
    for beginning, what in _STAND_INS.items():
        if start.lstrip().lower().startswith(beginning):
            return what
    if start.startswith(b"PK"):
        # Arrays of numpy.savez, a packed folder, or any other zip archive.
        packed = zipfile.is_zipfile(path)
        return "an archive of other files" if packed else "damaged or cut off; copy it again"
    if path.name.endswith(_INDEX):
        return f"the list of the parts that a checkpoint was cut into. {_JOIN_PARTS}"
    return "damaged, or of a format that torch.load does not read"


def _mappings(content: Any) -> Iterator[tuple[str, OrderedDict[str, Any]]]:
    """Every mapping with tensors in nested mappings and lists, the outermost first."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), content)]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_CONTAINERS:
        place, container = waiting.pop(0)
        if id(container) in seen or len(place) > _DEEPEST:
            continue
        seen.add(id(container))
        if isinstance(container, Mapping):
            inner: Iterable[tuple[Any, Any]] = container.items()
            named = OrderedDict((key, value) for key, value in inner if isinstance(key, str))
            versions = getattr(container, "_metadata", None)
            if isinstance(versions, dict) and all(isinstance(v, dict) for v in versions.values()):
                # Torch keeps the versions of modules with a state dict, and needs them to load it.
                named._metadata = versions  # type: ignore[attr-defined]
            if any(isinstance(value, Tensor) for value in named.values()):
                yield ".".join(place), named
        elif isinstance(container, list | tuple):
            inner = enumerate(container)
        else:
            continue
        waiting += [
            ((*place, str(key)), value)
            for key, value in inner
            if isinstance(value, Mapping | list | tuple)
        ]


def _described(content: Any) -> str:
    if isinstance(content, Mapping):
        keys = [printable(str(key)) for key in list(content)[:5]]
        more = ", ..." if len(content) > 5 else ""
        return f"a mapping with the keys {', '.join(keys)}{more}" if keys else "an empty mapping"
    return f"a {type(content).__name__}"
