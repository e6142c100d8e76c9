"""The mark that a group of a store carries once it is whole, and the checks of files against it.

A group of a store is a folder of many files. Its mark is written last: an attribute of the group
that lists every file with its size and digest, and what the group was made with. A group without
a mark is unfinished. A group whose files differ from the list is damaged: a bit has changed, or a
file is cut short, missing or another's. Zarr alone may read each of these as data or fill values.

The digests are SHA-256, since chunks end with their own CRC-32C: the CRC-32C of such a whole file
is always the same. Arrays that are written shard by shard are left out: see ``shard_marks``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c

from ddp_tasks.files.whole import write_whole
from ddp_tasks.store.kept_objects import keep, kept
from ddp_tasks.store.trees import METADATA, files_below, over_files
from schemas.object_paths import ObjectPath
from schemas.parameters import RunError

#: The attribute that holds the mark.
ATTRIBUTE = "whole"

_PIECE = 1 << 24


class DamagedStoreError(RunError):
    """A part of a store that is not as it was written."""


@dataclass(frozen=True)
class Mark:
    """What a group was made with, and its files as they were written."""

    made_with: Mapping[str, str]
    files: Mapping[str, str]
    """digest, by path below the group's folder."""
    by_shard: Sequence[str]
    """arrays whose chunks are not listed."""
    attributes: int
    """CRC-32C of the group's other attributes."""

    @property
    def text(self) -> str:
        """The mark as it is stored: its own CRC-32C, then the content."""
        content = json.dumps(vars(self), sort_keys=True, separators=(",", ":"))
        return f"{google_crc32c.value(content.encode()):08x} {content}"

    @property
    def fingerprint(self) -> str:
        """Equal for groups with equal content that were made with the same."""
        return self.text[:8]

    @classmethod
    def of_text(cls, text: str) -> Mark:
        """The mark that a stored text holds.

        Raises
        ------
        ValueError
            If the text is not as it was written.
        """
        checksum, _, content = text.partition(" ")
        if checksum != f"{google_crc32c.value(content.encode()):08x}":
            raise ValueError("its mark is not as it was written")
        return cls(**json.loads(content))


def set_mark(
    folder: Path, made_with: Mapping[str, str] | None = None, by_shard: Sequence[str] = ()
) -> None:
    """Mark a group as whole, listing its files as they are now.

    Parameters
    ----------
    by_shard
        arrays whose chunks are written later, shard by shard.
    """
    metadata = _read_metadata(folder)
    others = {k: v for k, v in metadata["attributes"].items() if k != ATTRIBUTE}
    names = sorted(_files(folder, by_shard))
    digests = over_files(folder, lambda name: digest_of_file(folder / name), names)
    listed = dict(zip(names, digests, strict=True))
    mark = Mark(dict(made_with or {}), listed, list(by_shard), _checksum_of_attributes(others))
    metadata["attributes"] = {**others, ATTRIBUTE: mark.text}
    write_whole(folder / METADATA, json.dumps(metadata, indent=2, allow_nan=False))


def set_root_mark(folder: Path) -> None:
    """Mark the attributes of a store's root group, whose files are those of its groups."""
    metadata = _read_metadata(folder)
    others = {k: v for k, v in metadata["attributes"].items() if k != ATTRIBUTE}
    mark = Mark({}, {}, [], _checksum_of_attributes(others))
    metadata["attributes"] = {**others, ATTRIBUTE: mark.text}
    write_whole(folder / METADATA, json.dumps(metadata, indent=2, allow_nan=False))


def read_mark(folder: Path) -> Mark | None:
    """The mark of a group; None if the group or its mark does not exist.

    Raises
    ------
    DamagedStoreError
        If the group's metadata are not as they were written.
    """
    return read_marked(folder)[0]


def read_marked(folder: Path) -> tuple[Mark | None, dict[str, Any]]:
    """The mark of a group and its other attributes; None and empty where there is no group.

    Raises
    ------
    DamagedStoreError
        As ``read_mark`` does.
    """
    try:
        metadata = _read_metadata(folder)
    except FileNotFoundError:
        return None, {}
    attributes = dict(metadata["attributes"])
    text = attributes.pop(ATTRIBUTE, None)
    if text is None:
        return None, attributes
    try:
        mark = Mark.of_text(str(text))
    except (ValueError, TypeError) as error:
        raise DamagedStoreError(f"{folder / METADATA} is damaged: {error}") from None
    if mark.attributes != _checksum_of_attributes(attributes):
        raise DamagedStoreError(
            f"{folder / METADATA} is damaged: its attributes are not as they were written"
        )
    return mark, attributes


def damages(folder: Path, mark: Mark) -> Iterator[str]:
    """For each file of a group that is not as it was written, what is wrong."""
    for why in over_files(folder, lambda file: _damage(folder, *file), list(mark.files.items())):
        if why:
            yield why
    for name in sorted(_files(folder, mark.by_shard) - mark.files.keys()):
        yield f"{name} is none of its files"


def _damage(folder: Path, name: str, digest: str) -> str | None:
    try:
        whole = digest_of_file(folder / name) == digest
    except (FileNotFoundError, NotADirectoryError):
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
    return None if whole else f"{name} is not as it was written"


def checked_bytes(folder: Path, name: str) -> bytes:
    """The content of a whole file of a group.

    Raises
    ------
    DamagedStoreError
        If the group is not marked, or the file is not as its mark says.
    """
    mark = read_mark(folder)
    if mark is None:
        raise DamagedStoreError(f"{folder} is not finished")
    digest, in_objects = mark.files.get(name, ""), isinstance(folder, ObjectPath)
    if in_objects and (before := kept(digest)) is not None:
        return before
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise DamagedStoreError(f"{folder / name} cannot be read: {error.strerror}") from None
    if digest != digest_of(content):
        raise DamagedStoreError(f"{folder / name} is damaged: it is not as it was written")
    if in_objects:
        keep(digest, content)
    return content


def digest_of_file(file: Path) -> str:
    """The digest of a file: its size and the beginning of its SHA-256."""
    size, digest = 0, hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return _digest(size, digest.hexdigest())


def digest_of(content: bytes) -> str:
    """The digest of a file with this content."""
    return _digest(len(content), hashlib.sha256(content).hexdigest())


def size_of(digest: str) -> int:
    """The size in bytes that a digest tells."""
    return int(digest.partition(" ")[0])


def _digest(size: int, sha256: str) -> str:
    return f"{size} {sha256[:16]}"


def _files(folder: Path, by_shard: Sequence[str]) -> set[str]:
    """Paths below the folder of all files of a group but its metadata."""
    chunks = {f"{name}/c" for name in by_shard}
    # Files that Zarr has only half written end in .partial.
    return {
        name
        for name in files_below(folder, without=chunks)
        if name != METADATA and not name.endswith(".partial")
    }


def _read_metadata(folder: Path) -> dict[str, Any]:
    file = folder / METADATA
    try:
        metadata = json.loads(file.read_bytes())
        if metadata["zarr_format"] != 3 or metadata["node_type"] != "group":
            raise ValueError("it belongs to no group")
        if not isinstance(metadata["attributes"], dict):
            raise ValueError("it has no attributes")
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(str(file)) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedStoreError(f"{file} is damaged: {error}") from None
    return dict(metadata)


def _checksum_of_attributes(attributes: Mapping[str, Any]) -> int:
    return int(google_crc32c.value(json.dumps(attributes, sort_keys=True).encode()))
