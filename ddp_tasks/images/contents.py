"""The content of an image: size and digest of its bytes, independent of any decoder."""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Content(NamedTuple):
    """Size and digest that identify the bytes of one image."""

    size: int
    """in bytes."""
    digest: int
    """first 64 bits of the SHA-256."""

    def changed_from(self, recorded: Content) -> str | None:
        """How the content differs from one recorded before, in words; None if it does not."""
        if self.size != recorded.size:
            return f"it had {recorded.size:,} bytes and has {self.size:,}"
        if self.digest != recorded.digest:
            return f"its {self.size:,} bytes differ"
        return None


#: Of an image that could not be read.
UNKNOWN = Content(-1, 0)


def content(data: bytes | memoryview) -> Content:
    """The content of an image with these bytes, a buffer in one block of memory."""
    # Processors have instructions for SHA-256, which make it twice as fast as BLAKE2.
    digest = hashlib.sha256(data).digest()
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    return Content(size, int.from_bytes(digest[:8], "little"))
