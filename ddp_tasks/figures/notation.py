"""How figures and the report write singular vectors and target classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import (
    DIRECTIONS,
    SignedVector,
    SignedVectors,
    signed_name,
)
from schemas.shown import escaped, shown

#: Lines of twelve target classes that can be told apart on white, also by who confuses colours.
COLOURS = (
    *("#2385ff", "#a91008", "#04b070", "#441a97", "#e77c15", "#7f5565"),
    *("#b190ae", "#3e3421", "#f9374c", "#166097", "#620d54", "#9593e4"),
)
NEUTRAL = "#55606b"

ARBITRARY_FOOTNOTE = (
    "* the singular value cannot be told apart from its neighbour's, so the arithmetic leaves "
    "this singular vector arbitrary within the space that they share."
)

_LONGEST_OF_SEVERAL = 120

_NARROW, _WIDE = set("ijltfrI.,:;|'()[] -"), set("mwMW%@—")


def vector_names(layer: LayerVectors) -> list[str]:
    """Names v0, v1, ... of a layer's singular vectors; an asterisk marks the arbitrary ones."""
    return [f"v{i}{'*' if close else ''}" for i, close in enumerate(layer.arbitrary)]


def node_names(nodes: SignedVectors) -> list[str]:
    """Names v0⁺, v0⁻, v1⁺, ... of a layer's nodes; an asterisk marks the arbitrary ones."""
    return [
        f"{name}{'*' if close else ''}"
        for name, close in zip(nodes.names, nodes.arbitrary.tolist(), strict=True)
    ]


def node_name(vector: int, direction: str, directions: Iterable[str] = DIRECTIONS) -> str:
    """Name of one node, of a hypergraph whose nodes have these directions."""
    return signed_name(SignedVector(vector, 1 if direction == DIRECTIONS[0] else -1), directions)


def abbreviated(names: Sequence[str], most: int) -> str:
    """Names joined by commas; past ``most`` of them the number left out is stated."""
    listed = [shown(name, _LONGEST_OF_SEVERAL) for name in names[:most]]
    if left := len(names) - len(listed):
        listed.append(f"+{left}")
    return ", ".join(listed)


def short(name: str, characters: int = 18) -> str:
    """A name cut to a number of characters by an ellipsis; invisible characters are escaped."""
    name = escaped(name)
    if len(name) <= characters:
        return name
    tail = (characters - 1) // 3
    head = characters - 1 - tail
    return f"{name[:head].rstrip()}…{name[len(name) - tail :].lstrip()}"


def text_width(text: str, size: float) -> float:
    """Width of a text in pixels, slightly above Helvetica's; the font size is in pixels too."""
    widths = (0.32 if c in _NARROW else 0.9 if c in _WIDE or ord(c) > 0x2E80 else 0.6 for c in text)
    return size * sum(widths)


def wrapped(names: Sequence[str], width: float, size: float, lines: int) -> list[str]:
    """Names joined by commas and broken into lines; the number left out is stated.

    Parameters
    ----------
    width, size
        of a line and of the font, in pixels; each name is cut to fit one line.
    lines
        at most this many.
    """
    broken: list[str] = []
    for position, name in enumerate(map(escaped, names)):
        left = len(names) - position - 1
        # Only the last line must leave room for the number left out.
        room = width - text_width(f", +{left}", size) * (left > 0)
        fitting = cut(name, room, size)
        joined = f"{broken[-1]}, {fitting}" if broken else fitting
        if broken and text_width(joined, size) <= (room if len(broken) == lines else width):
            broken[-1] = joined
        elif len(broken) < lines:
            broken = [*(line.removesuffix(",") + "," for line in broken), fitting]
        else:
            broken[-1] += f", +{left + 1}"
            break
    return broken


def cut(name: str, room: float, size: float) -> str:
    """A name shortened to a width of at most ``room`` pixels; the font size is in pixels too."""
    fitting = name
    while len(fitting) > 2 and text_width(fitting, size) > room:
        fitting = short(fitting, len(fitting) - 1)
    return fitting
