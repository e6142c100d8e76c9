"""Names that people gave, as names of files and groups: no name is ever a path.

Layers, classes, models and runs are called what their authors liked: names hold slashes, dots,
spaces, and hundreds of characters. Where such a name becomes a file or a group of the store, it is
written as one name of a file, and no two names are written alike. What the thing is really called
stands in attributes and coordinates.
"""

from __future__ import annotations

import hashlib
import re

#: The longest name of a file that comes of this; two of them fit into one file's name.
LONGEST = 115

_KEPT = 80
_DIGEST = 24

_ORDINARY = re.compile(r"[A-Za-z0-9._@-]")

#: What Zarr keeps for itself, or a file system reads as something else.
_RESERVED = re.compile(r"\.|__|zarr\.json$", re.IGNORECASE)


def file_name(name: str) -> str:
    """A name as the name of one file or group.

    Letters of ASCII, digits and ``. _ - @`` stay as they are, which is all that an ordinary name
    holds; every other byte of the name in UTF-8 becomes % and two digits. A first character that
    would mean something (a dot, two underscores, the whole name ``zarr.json``) is written so too.
    Past ``LONGEST`` characters the name's SHA-256 stands for its end, behind a ~.
    """
    written = "".join((_ORDINARY.match(c) and c) or _escaped(c) for c in name)
    if _RESERVED.match(written):
        written = _escaped(written[0]) + written[1:]
    if not written:
        return "~"
    if len(written) <= LONGEST:
        return written
    beginning = re.sub(r"%.?$", "", written[:_KEPT])
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{beginning}~{digest[:_DIGEST]}"


def group_path(parent: str, name: str) -> str:
    """The path of a group called after a layer or model, such as ``decomposition/conv1``."""
    return f"{parent}/{file_name(name)}"


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
