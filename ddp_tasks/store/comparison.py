"""Two stores compared bit for bit, whichever version of the format either has.

The arrays are read through Zarr alone, block by block. So stores that the rest of the project
refuses can be compared too, and a large cube needs no more memory than a small one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from ddp_tasks.store import marks, shard_marks
from ddp_tasks.store.identity import same_images
from ddp_tasks.store.zarr_stores import zarr_store
from schemas.parameters import RunError

#: Bytes of one array that are read at a time.
BLOCK = 1 << 24

#: Attributes that describe in words, or say how, when and by what the results were made and stored.
PROVENANCE = frozenset(
    {
        *("format_version", "title", "created", "software_versions", "code", "weights"),
        *("run_parameters", "zoo_parameters", "identity"),
        *("meaning", "long_name", "units", "source", "coordinates", "_FillValue"),
    }
)
#: Groups of optimised images. How many there are depends on the time that a run had, and their
#: bits in float32 on the batches in which they were made.
_WITHIN_A_BUDGET = ("visualizations", "visualized")
#: Most differing entries of one attribute that are shown.
_SHOWN = 3
#: Arrays of checksums of shard files; they differ where the same cube is cut into other shards.
_OF_FILES = frozenset({shard_marks.COMPLETE, shard_marks.CHECKSUM})


@dataclass(frozen=True)
class Difference:
    """One difference between two results."""

    place: str
    """a group, an array ``group/variable``, an attribute, or a file."""
    what: str
    of_results: bool = True
    """False where only the way or the time in which the results were made differs."""

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


def compare_stores(
    a: Path, b: Path, reading: Callable[[str], None], block: int = BLOCK
) -> Iterator[Difference]:
    """Every array, coordinate and attribute that differs or that only one of two stores has.

    Floats are compared by their bits: NaN equals NaN, and 0 differs from -0.

    Parameters
    ----------
    a, b
        stores of runs or of lists of models, in this format version or an older one.
    reading
        is called with the name of each group before the group is read.
    block
        bytes of one array that are read at a time, at least one chunk.

    Raises
    ------
    RunError
        If there is no Zarr group at one of the paths.
    """
    opened = _Pair(a, b, _open(a), _open(b))
    for difference in _of_group(opened, "", reading, block):
        within_a_budget = re.split("[/ ]", difference.place)[0] in _WITHIN_A_BUDGET
        yield replace(difference, of_results=False) if within_a_budget else difference


def root_attributes_as_stored(path: Path) -> dict[str, Any]:
    """Attributes of a store's root, unchecked, of any format version.

    Raises
    ------
    RunError
        If there is no Zarr group at the path.
    """
    return dict(_open(path).attrs)


def _open(path: Path) -> zarr.Group:
    try:
        # Consolidated metadata may be older than the groups' own.
        store = zarr_store(path, read_only=True)
        return zarr.open_group(store=store, mode="r", zarr_format=3, use_consolidated=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be opened as a Zarr group: {error}") from None


@dataclass(frozen=True)
class _Pair:
    """The same group of two stores."""

    a_path: Path
    b_path: Path
    a: zarr.Group
    b: zarr.Group

    def lacking(self, in_a: bool) -> str:
        return f"is in {self.a_path if in_a else self.b_path} only"


def _of_group(
    groups: _Pair, name: str, reading: Callable[[str], None], block: int
) -> Iterator[Difference]:
    reading(name or "the root")
    yield from _attributes(name or "/", dict(groups.a.attrs), dict(groups.b.attrs))
    a, b = dict(groups.a.members()), dict(groups.b.members())
    for member in sorted({*a, *b}):
        place = f"{name}/{member}".lstrip("/")
        if member not in a or member not in b:
            yield Difference(place, groups.lacking(member in a), member not in _OF_FILES)
            continue
        one, other = a[member], b[member]
        if isinstance(one, zarr.Group) and isinstance(other, zarr.Group):
            below = _Pair(groups.a_path, groups.b_path, one, other)
            yield from _of_group(below, place, reading, block)
        elif isinstance(one, zarr.Array) and isinstance(other, zarr.Array):
            yield from _attributes(place, dict(one.attrs), dict(other.attrs))
            try:
                what = _difference(one, other, groups.a, block)
            except (OSError, ValueError, RuntimeError) as error:
                # Codecs raise RuntimeError.
                what = f"cannot be read: {error}"
            if what:
                yield Difference(place, what, member not in _OF_FILES)
        else:
            yield Difference(place, "is an array in one and a group in the other")


def _attributes(place: str, a: dict[str, Any], b: dict[str, Any]) -> Iterator[Difference]:
    """Attributes that differ; those that hold JSON are compared entry by entry."""
    for key in sorted({*a, *b} - {marks.ATTRIBUTE}):
        one, other = _parsed(a.get(key)), _parsed(b.get(key))
        if key == "images_digest" and same_images(str(one), str(other)):
            continue
        if apart := differing(one, other):
            entries = [f"{x.lstrip('.')} {y} against {z}".strip() for x, (y, z) in apart.items()]
            more = f"; and {len(entries) - _SHOWN:,} more" if len(entries) > _SHOWN else ""
            what = "; ".join(entries[:_SHOWN]) + more
            yield Difference(f"{place} {key}", what, key not in PROVENANCE)


def _parsed(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value
    except ValueError:
        return value


def differing(a: Any, b: Any) -> dict[str, tuple[str, str]]:
    """The pairs of differing values in two JSON contents, by their path."""
    one, other = dict(_leaves(a)), dict(_leaves(b))
    pairs = {
        path: (one.get(path, "nothing"), other.get(path, "nothing")) for path in {**one, **other}
    }
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def _leaves(content: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(content, Mapping) and content:
        for key, value in content.items():
            yield from _leaves(value, f"{path}.{key}")
    elif isinstance(content, list) and content:
        for place, value in enumerate(content):
            yield from _leaves(value, f"{path}[{place}]")
    elif content is not None or path:
        # As JSON, 1 is not 1.0, and True is not 1.
        yield path, json.dumps(content)


def _difference(
    a: zarr.Array[Any], b: zarr.Array[Any], group: zarr.Group, block: int
) -> str | None:
    """How two arrays differ, in words; None where every bit is the same."""
    dims, b_dims = _dimensions(a), _dimensions(b)
    for what, one, other in (
        ("has dimensions", dims, b_dims),
        ("has shape", a.shape, b.shape),
        ("has dtype", a.dtype, b.dtype),
    ):
        if one != other:
            return f"{what} {_text(one)} against {_text(other)}"
    counts, greatest, undefined = 0, 0.0, 0
    first: tuple[tuple[int, ...], Any, Any] | None = None
    for region in _blocks(a, block):
        left, right = np.asarray(a[region]), np.asarray(b[region])
        differs = _bits(left) != _bits(right)
        if not differs.any():
            continue
        place = tuple(int(i) for i in np.argwhere(differs)[0])
        start = tuple(part.start for part in region)
        index = tuple(s + i for s, i in zip(start, place, strict=True))
        if first is None or index < first[0]:
            first = index, left[place], right[place]
        counts += int(differs.sum())
        if a.dtype.kind in "fiu":
            distances = _distances(left[differs], right[differs])
            undefined += int(np.isnan(distances).sum())
            greatest = max(greatest, float(np.nanmax(distances, initial=0.0)))
    if first is None:
        return None
    index, one, other = first
    return (
        f"{counts:,} of {math.prod(a.shape):,} values differ"
        f"{_extent(a.dtype.kind, counts, greatest, undefined)}; the first "
        f"{_labels(group, dims, index)}({_text(one)} against {_text(other)})"
    )


def _dimensions(array: zarr.Array[Any]) -> tuple[str | None, ...]:
    names: tuple[str | None, ...] | None = getattr(array.metadata, "dimension_names", None)
    return names or ("?",) * array.ndim


def _blocks(array: zarr.Array[Any], block: int) -> Iterator[tuple[slice, ...]]:
    """Regions of whole chunks that cover an array, each of at most about ``block`` bytes."""
    sides, size = list(array.chunks), math.prod(array.chunks) * max(array.dtype.itemsize, 1)
    for axis in reversed(range(array.ndim)):
        times = max(1, min(block // size, -(-array.shape[axis] // sides[axis])))
        sides[axis], size = sides[axis] * times, size * times
    starts = [range(0, length, side) for length, side in zip(array.shape, sides, strict=True)]
    for corner in product(*starts):
        yield tuple(
            slice(start, min(start + side, length))
            for start, side, length in zip(corner, sides, array.shape, strict=True)
        )


def _bits(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype.kind != "f":
        return values
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}").reshape(values.shape)


def _distances(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Absolute differences of values; NaN where only one of the two is NaN."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(a.astype(np.float64) - b.astype(np.float64))
    if a.dtype.kind == "f":
        apart[np.isnan(a) & np.isnan(b)] = 0.0
    return apart


def _extent(kind: str, counts: int, greatest: float, undefined: int) -> str:
    if kind not in "fiu":
        return ""
    missing = f", {undefined:,} of them NaN in one alone" if undefined else ""
    if undefined == counts:
        return missing
    return f"{missing}, by at most {greatest:.3g}" if greatest else f"{missing}, in bits alone"


def _labels(group: zarr.Group, dims: tuple[str | None, ...], index: tuple[int, ...]) -> str:
    """The place of a value: by the coordinates of its group, or else by index."""
    labels = []
    for dim, i in zip(dims, index, strict=True):
        coordinate = group.get(dim) if dim else None
        if isinstance(coordinate, zarr.Array) and coordinate.ndim == 1:
            labels.append(f"{dim}={np.asarray(coordinate[i]).item()}")
        else:
            labels.append(f"{dim}={i}")
    return f"at {', '.join(labels)} " if labels else ""


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(str(part) for part in value)})"
    return repr(value) if isinstance(value, str) else str(value)
