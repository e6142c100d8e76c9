"""Rows of the tables of how a layer's classes relate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.figures.notation import abbreviated, short

_CLASSES = 50
_NAMED = 4


@dataclass(frozen=True)
class WalkRow:
    """The s-walks among the classes of a layer, for one s."""

    s: int
    left_out: str
    """why they are not followed; empty if they are."""
    classes: int = 0
    """classes with at least s significant vectors."""
    components: str = ""
    """s-connected components by their sizes, the greatest first."""
    farthest: int = 0
    """greatest distance within a component."""
    central: str = ""
    """classes of the greatest harmonic centrality."""
    between: str = ""
    """classes of the greatest betweenness; empty if no walk needs a class between."""


@dataclass(frozen=True)
class ClassRow:
    """One class of a layer among the others."""

    target_class: str
    vectors: int
    toplex: bool
    nearest: str
    """the class of the greatest Jaccard similarity to it."""
    similarity: float
    harmonic: tuple[str, ...]
    """for each s; a dash if s is left out or the class takes no part."""
    betweenness: tuple[str, ...]


def walk_rows(relations: xr.Dataset) -> list[WalkRow]:
    """One row for each s of the store's group ``hypergraphs/LAYER``."""
    names = [str(name) for name in relations["target_class"].to_numpy()]
    rows = []
    for position, s in enumerate(relations["s"].to_numpy().tolist()):
        walks = relations.isel(s=position)
        if reason := str(walks["left_out"].item()):
            rows.append(WalkRow(s, reason))
            continue
        component = walks["component"].to_numpy()
        sizes = np.sort(np.bincount(component[component >= 0]))[::-1]
        rows.append(
            WalkRow(
                s=s,
                left_out="",
                classes=int((component >= 0).sum()),
                components=abbreviated([str(size) for size in sizes], 6),
                farthest=int(walks["distance"].to_numpy().max(initial=0)),
                central=_greatest(walks["harmonic"].to_numpy(), names),
                between=_greatest(walks["betweenness"].to_numpy(), names),
            )
        )
    return rows


def class_rows(relations: xr.Dataset) -> tuple[list[ClassRow], int]:
    """One row for each class with a hyperedge, and the number of classes left out.

    At most 50 classes: those with most significant vectors.
    """
    vectors = relations["vectors"].to_numpy()
    ranked = np.argsort(-vectors, kind="stable")[: min(_CLASSES, int((vectors > 0).sum()))]
    names = [str(name) for name in relations["target_class"].to_numpy()]
    others = relations["other_class"].to_numpy()
    similar = relations["jaccard"].to_numpy()
    toplex = relations["toplex"].to_numpy()
    harmonic, betweenness = (relations[n].to_numpy() for n in ("harmonic", "betweenness"))
    rows = []
    for c in sorted(ranked.tolist()):
        near = np.nan_to_num(similar[c].astype(np.float64), nan=-1)
        near[others == names[c]] = -1
        rows.append(
            ClassRow(
                target_class=names[c],
                vectors=int(vectors[c]),
                toplex=bool(toplex[c]),
                nearest=str(others[int(near.argmax())]) if near.max(initial=-1) > 0 else "",
                similarity=float(near.max(initial=0)),
                harmonic=tuple(map(_number, harmonic[:, c])),
                betweenness=tuple(map(_number, betweenness[:, c])),
            )
        )
    return rows, int((vectors > 0).sum()) - len(rows)


def _greatest(values: npt.NDArray[np.float64], names: list[str]) -> str:
    """Classes of the greatest value, with the value; empty if none is above zero."""
    greatest = np.nan_to_num(values).max(initial=0)
    if greatest <= 0:
        return ""
    chosen = np.flatnonzero(np.isclose(values, greatest))
    if len(chosen) > 1 and len(chosen) == int(np.isfinite(values).sum()):
        return f"all alike ({greatest:.3g})"
    return f"{abbreviated([short(names[c]) for c in chosen], _NAMED)} ({greatest:.3g})"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3g}"
