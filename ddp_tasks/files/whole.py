"""Files written whole or not at all: under a name of their own first, then in their place."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from schemas.parameters import RunError

_PART = ".ddp-{token}.part"
#: Seconds since it was last written to, after which nobody writes to a part any more.
_ALIVE = 3600

_PARTS = re.compile(r"\.ddp-[0-9a-f]{16}\.part")


def write_whole(path: Path, content: str | bytes) -> None:
    """Put text (as UTF-8) or bytes in the place of a file, as ``replacing`` does."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, that takes its place once all is written; a failure leaves none.

    Whoever opens the place finds what was there before or the new file, never a part. What is
    written goes to a new file beside it, whose name nobody can know beforehand; a link that lies
    in the place is replaced, and what it leads to is left alone.

    Raises
    ------
    RunError
        Naming the file, if the system refuses it: no room, no leave, no such folder.
    """
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
            raise  # of another file, which was read meanwhile
        raise RunError(f"{path} cannot be written: {error.strerror or error}") from error


def clear_parts(folder: Path) -> int:
    """Remove what processes that were killed while they wrote left in a folder.

    What was written to within the last hour may be a living process's.

    Returns
    -------
    number of files removed
    """
    if not folder.is_dir():
        return 0
    left = [file for file in folder.iterdir() if _PARTS.fullmatch(file.name)]
    old = [file for file in left if time.time() - file.lstat().st_mtime > _ALIVE]
    for file in old:
        file.unlink(missing_ok=True)
    return len(old)
