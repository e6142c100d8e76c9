"""Files written whole or not at all: first under a temporary name, then renamed.

An object in an object store is written by one request instead, which needs no other name.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from schemas.object_paths import ObjectPath
from schemas.parameters import RunError

_PART = ".ddp-{token}.part"
#: Seconds after its last change when a partial file counts as abandoned.
_ALIVE = 3600

_PARTS = re.compile(r"\.ddp-[0-9a-f]{16}\.part")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write text (as UTF-8) or bytes in place of a file, as ``replacing`` does."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that replaces ``path`` once all is written; a failure leaves no file.

    A reader finds the old file or the new one, never a part. The content is first written to a
    new file beside it, whose name nobody can know beforehand. A link at ``path`` is replaced, and
    its target is left alone.

    Raises
    ------
    RunError
        Naming the file, if the system refuses it: no space, no permission, no such folder.
    """
    if isinstance(path, ObjectPath):
        with _replacing_object(path) as content:
            yield content
        return
    part = path.with_name(_PART.format(token=secrets.token_hex(8)))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(part, flags, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        if error.filename not in (None, str(part)):
            raise  # about another file, which was read meanwhile
        raise RunError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def _replacing_object(path: ObjectPath) -> Iterator[IO[bytes]]:
    content = io.BytesIO()
    yield content
    try:
        path.write_bytes(content.getbuffer())
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}") from error


def may_be_folder(place: Path) -> bool:
    """Whether files can lie in a place: it is a folder, or any address in an object store."""
    return isinstance(place, ObjectPath) or place.is_dir()


def may_write_to(folder: Path) -> bool:
    """Whether a folder's permissions allow new files; an object store says it when it is asked."""
    return isinstance(folder, ObjectPath) or os.access(folder, os.W_OK | os.X_OK)


def clear_parts(folder: Path) -> int:
    """Remove the partial files that killed processes left in a folder.

    A file that changed within the last hour is kept: its process may still be running.

    Returns
    -------
    number of files removed
    """
    if isinstance(folder, ObjectPath) or not folder.is_dir():
        return 0
    left = [file for file in folder.iterdir() if _PARTS.fullmatch(file.name)]
    old = [file for file in left if time.time() - file.lstat().st_mtime > _ALIVE]
    for file in old:
        file.unlink(missing_ok=True)
    return len(old)
