"""Contents of objects that this process has read, by their digest.

A group's mark names the digest of each of its files, so what is kept under that digest is what the
object holds. Each answer of an object store takes tens of milliseconds, and a stage opens the same
groups again and again.
"""

from __future__ import annotations

import threading

from cachetools import LRUCache

#: Bytes of the largest content that is kept, and of all.
LARGEST, _ALL = 1 << 20, 64 << 20

_LOCK = threading.Lock()
_CONTENTS: LRUCache[str, bytes] = LRUCache(_ALL, getsizeof=len)


def kept(digest: str) -> bytes | None:
    """The content with a digest as ``marks.digest_of`` makes it, if it is kept."""
    with _LOCK:
        return _CONTENTS.get(digest)


def keep(digest: str, content: bytes) -> None:
    """Keep a content that has this digest."""
    if len(content) <= LARGEST:
        with _LOCK:
            _CONTENTS[digest] = content
