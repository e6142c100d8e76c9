"""Names of layers, classes, models and runs as names of files and groups.

People choose these names freely: they hold slashes, dots, spaces, and hundreds of characters. Where
such a name becomes a file or a group of the store, it is escaped to a single file name, never a
path, and different names get different file names. Attributes and coordinates hold the real name.
"""

from __future__ import annotations

import hashlib
import re

#: The longest name that ``file_name`` returns; two of them fit into one file's name.
LONGEST = 115

_KEPT = 80
_DIGEST = 24

_ORDINARY = re.compile(r"[A-Za-z0-9._@-]")

#: Names and beginnings that Zarr reserves or file systems read as something else.
_RESERVED = re.compile(r"\.|__|zarr\.json$", re.IGNORECASE)


def file_name(name: str) -> str:
    """A name as the name of one file or group.

    ASCII letters, digits and ``. _ - @`` stay as they are; ordinary names hold nothing else. Every
    other byte of the name in UTF-8 becomes % and two hexadecimal digits. So does the first
    character of a name that begins with a dot or two underscores, or is ``zarr.json``. If the
    result has more than ``LONGEST`` characters, ~ and digits of the name's SHA-256 replace its end.
    """
    escaped = "".join((_ORDINARY.match(c) and c) or _escaped(c) for c in name)
    if _RESERVED.match(escaped):
        escaped = _escaped(escaped[0]) + escaped[1:]
    if not escaped:
        return "~"
    if len(escaped) <= LONGEST:
        return escaped
    beginning = re.sub(r"%.?$", "", escaped[:_KEPT])
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{beginning}~{digest[:_DIGEST]}"


def group_path(parent: str, name: str) -> str:
    """The path of a group named after a layer or model, such as ``decomposition/conv1``."""
    return f"{parent}/{file_name(name)}"


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
