"""The folders of two finished runs, or of two lists of models, compared bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from ddp_tasks.store import wholeness
from ddp_tasks.store.comparison import (
    Difference,
    compare_stores,
    differing,
    root_attributes_as_stored,
)
from schemas.variables import FORMAT_VERSION

_STORES = ("store.zarr", "capacity.zarr")
_PAGES = ("report.html", "capacity.html")
_HYPERGRAPHS = "hypergraphs"
#: The entry of a hypergraph's metadata that names the run, and is not a result.
_RUN = ".metadata.run"


def compare_folders(a: Path, b: Path, reading: Callable[[str], None]) -> Iterator[Difference]:
    """All differences between the results of two folders, and all damage in either.

    Compares the stores and the hypergraphs in HIF. Pages are made from these, and are not read.
    A store of another format version is compared as it is: only files of this version are checked
    against what is recorded of them.

    Parameters
    ----------
    reading
        called with each part before it is read.

    Raises
    ------
    RunError
        If one of the folders holds no results.
    """
    for folder in (a, b):
        yield from _not_whole(folder, reading)
    for name in _STORES:
        present = [(folder / name).is_dir() for folder in (a, b)]
        if all(present):
            yield from compare_stores(a / name, b / name, reading)
        elif any(present):
            yield Difference(name, f"is in {a if present[0] else b} only")
    yield from _compare_hypergraphs(a, b)


def _not_whole(folder: Path, reading: Callable[[str], None]) -> Iterator[Difference]:
    """Damage in a folder; two folders with the same damage may compare as equal."""
    stores = [folder / name for name in _STORES if (folder / name).is_dir()]
    versions = {
        str(root_attributes_as_stored(store).get("format_version", "unknown")) for store in stores
    }
    if versions <= {str(FORMAT_VERSION)}:
        for damage in wholeness.check_folder(folder, reading):
            of_results = damage.group not in _PAGES
            yield Difference(f"{folder}, {damage.group}", damage.what, of_results)
    else:
        what = f"format version {', '.join(sorted(versions))}: not compared with its marks"
        yield Difference(str(folder), what, of_results=False)


def _compare_hypergraphs(a: Path, b: Path) -> Iterator[Difference]:
    files = [{file.name for file in (x / _HYPERGRAPHS).glob("*.hif.json")} for x in (a, b)]
    for name in sorted(files[0] | files[1]):
        place = f"{_HYPERGRAPHS}/{name}"
        if any(name not in names for names in files):
            yield Difference(place, f"is in {a if name in files[0] else b} only")
            continue
        try:
            apart = differing(*(json.loads((folder / place).read_bytes()) for folder in (a, b)))
        except (OSError, ValueError) as error:
            yield Difference(place, f"cannot be read: {error}")
            continue
        if named := apart.pop(_RUN, None):
            yield Difference(f"{place} {_RUN[1:]}", " against ".join(named), of_results=False)
        if apart:
            path, (left, right) = next(iter(apart.items()))
            entries = "entry differs" if len(apart) == 1 else "entries differ"
            first = f"the first at {path[1:]} ({left} against {right})"
            yield Difference(place, f"{len(apart):,} {entries}; {first}")
