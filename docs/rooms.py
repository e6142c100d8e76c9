"""Draws rooms.svg: the rooms of the code, in order, and which imports from which.

``python -m docs.rooms`` reads the order from the import contracts in pyproject.toml, what each room
is for from its docstring, and the imports from the source.
"""

from __future__ import annotations

import argparse
import ast
import math
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "rooms.svg"

_ROW, _TOP, _MARGIN = 30, 118, 18
_NAME, _SENTENCE = 112, 560
_INK, _PALE, _LINE, _DOT = "#1b1f24", "#59636e", "#d8dee4", "#2a78b5"


def rooms(root: Path = ROOT) -> list[str]:
    """Packages in their order, the first imported by all: schemas, the rooms, flows."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]
    (order,) = (c["layers"] for c in contracts["contracts"] if c["id"] == "rooms")
    # Rooms that stand beside each other share a line of the contract.
    lines = [room for line in reversed(order) for room in line.split(" | ")]
    return ["schemas", *(f"ddp_tasks.{room}" for room in lines), "flows"]


def imports(names: Sequence[str]) -> Counter[tuple[str, str]]:
    """How many imports run from one room to another, by (importer, imported)."""
    graph = grimp.build_graph("schemas", "ddp_tasks", "flows", cache_dir=None)
    counts = Counter[tuple[str, str]]()
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            pair = _room(importer, names), _room(imported, names)
            if pair[0] and pair[1] and pair[0] != pair[1]:
                counts[pair[0], pair[1]] += 1
    return counts


def _room(module: str, names: Sequence[str]) -> str:
    return next((name for name in names if f"{module}.".startswith(f"{name}.")), "")


def sentences(names: Sequence[str], root: Path = ROOT) -> dict[str, str]:
    """What each room is for: the first line of its docstring."""
    return {name: _first_line(root / name.replace(".", "/")) for name in names}


def _first_line(place: Path) -> str:
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return (
        (ast.get_docstring(ast.parse(file.read_text())) or "")
        .partition("\n")[0]
        .rstrip(".")
        .replace("``", "")
    )


def svg(
    names: Sequence[str], counts: Mapping[tuple[str, str], int], words: Mapping[str, str]
) -> str:
    """The picture: a row for each room, the last first, with a dot where it imports from another.

    Parameters
    ----------
    names
        rooms, the first imported by all.
    counts
        imports, by (importer, imported); the more, the larger the dot.
    words
        a sentence for each room.
    """
    rows = list(reversed(names))
    left = _MARGIN + _NAME + _SENTENCE
    width, height = left + _ROW * len(rows) + 70, _TOP + _ROW * len(rows) + 46
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="Helvetica, Arial, sans-serif">',
        "<title>The rooms of the code, and which imports from which</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *_grid(rows, words, left),
        *_dots(rows, counts, left),
        _text(
            _MARGIN,
            height - 16,
            "A dot: the room of the row imports from the room of the column; the larger, the more "
            "imports. Left of the diagonal there is none.",
            size=12,
            colour=_PALE,
        ),
        "</svg>",
    ]
    return "\n".join(body) + "\n"


def _grid(rows: Sequence[str], words: Mapping[str, str], left: int) -> Iterator[str]:
    """Names and sentences of rows, names of columns, and the lines between."""
    right, bottom = left + _ROW * len(rows), _TOP + _ROW * len(rows)
    for place, name in enumerate(rows):
        x, y = left + _ROW * place, _TOP + _ROW * place
        yield _text(_MARGIN, y + 20, _short(name), weight="bold")
        yield _text(_MARGIN + _NAME, y + 20, words[name], size=13, colour=_PALE)
        yield _text(x + 19, _TOP - 8, _short(name), size=12, turn=True)
        yield f'<rect x="{x}" y="{y}" width="{_ROW}" height="{_ROW}" fill="{_LINE}"/>'
    for step in range(len(rows) + 1):
        x, y = left + _ROW * step, _TOP + _ROW * step
        yield f'<path d="M{_MARGIN} {y}H{right}M{x} {_TOP}V{bottom}" stroke="{_LINE}"/>'


def _dots(rows: Sequence[str], counts: Mapping[tuple[str, str], int], left: int) -> Iterator[str]:
    most = max(counts.values(), default=1)
    for (importer, imported), count in sorted(counts.items()):
        x = left + _ROW * (rows.index(imported) + 0.5)
        y = _TOP + _ROW * (rows.index(importer) + 0.5)
        radius = 3 + (_ROW / 2 - 5) * math.sqrt(count / most)
        told = f"{_short(importer)} imports {count} times from {_short(imported)}"
        yield (
            f'<circle cx="{x:g}" cy="{y:g}" r="{radius:.1f}" fill="{_DOT}">'
            f"<title>{told}</title></circle>"
        )


def _text(
    x: int,
    y: int,
    words: str,
    *,
    size: int = 14,
    colour: str = _INK,
    weight: str = "normal",
    turn: bool = False,
) -> str:
    turned = f' transform="rotate(-55 {x} {y})"' if turn else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" font-weight="{weight}"{turned}>'
        f"{escape(words)}</text>"
    )


def _short(name: str) -> str:
    return name.removeprefix("ddp_tasks.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the picture from the source as it is."""
    parser = argparse.ArgumentParser(description="Draw the rooms of the code as SVG.")
    parser.add_argument("--out", type=Path, default=PICTURE, metavar="FILE.svg")
    out = parser.parse_args(arguments).out
    names = rooms()
    out.write_text(svg(names, imports(names), sentences(names)))


if __name__ == "__main__":
    main()
