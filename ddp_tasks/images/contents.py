"""What an image was made of: the size and a digest of its bytes, whatever decodes them."""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Content(NamedTuple):
    """The bytes of one image, told apart from those of another."""

    size: int
    """in bytes."""
    digest: int
    """first 64 bits of the SHA-256."""

    def changed_from(self, recorded: Content) -> str | None:
        """What differs from a content recorded before, in words; None if nothing does."""
        if self.size != recorded.size:
            return f"it had {recorded.size:,} bytes and has {self.size:,}"
        if self.digest != recorded.digest:
            return f"its {self.size:,} bytes are others"
        return None


#: Of an image that could not be read.
UNKNOWN = Content(-1, 0)


def content(data: bytes | memoryview) -> Content:
    """The content of an image whose bytes are these; the buffer lies in memory as one block."""
    # Processors compute SHA-256 themselves: twice as fast there as BLAKE2.
    digest = hashlib.sha256(data).digest()
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    return Content(size, int.from_bytes(digest[:8], "little"))
