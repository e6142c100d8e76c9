"""The images that several runs share, by id, and why runs cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddp_tasks.queries.run_signals import RunSignals
from schemas.parameters import RunError

#: Fewest common images that a comparison is made of.
FEWEST = 10

_SHOWN = 3


@dataclass(frozen=True)
class CommonImages:
    """The images that runs are compared on."""

    ids: tuple[str, ...]
    total: int
    """images that all runs have in common; these may be more than are compared."""
    changed: int
    """images left out since the runs read other bytes under the same id."""
    positions: tuple[npt.NDArray[np.int64], ...]
    """for each run, where these images are in it."""
    target: npt.NDArray[np.int64]
    """shape (image,); class of each, by the order of the first run's classes."""
    classes: tuple[str, ...]


def common_images(runs: Sequence[RunSignals], most: int) -> CommonImages:
    """Join the images of runs by id.

    Parameters
    ----------
    most
        images to compare at most; of more, as many are spread evenly over the first run's order.

    Raises
    ------
    RunError
        If the runs have other classes, no images in common, or other labels of the same image.
    """
    first = runs[0]
    for other in runs[1:]:
        _check_classes(first, other)
    place = [{i: n for n, i in enumerate(run.ids) if run.target[n] >= 0} for run in runs]
    ids = [image for image in place[0] if all(image in of for of in place[1:])]
    if not ids:
        told = "; ".join(
            f"{run.store.parent}: {len(run.ids):,}, {', '.join(map(repr, run.ids[:_SHOWN]))}, ..."
            for run in runs
        )
        raise RunError(f"the runs have no image in common, by id: {told}")
    positions = [np.array([of[image] for image in ids], dtype=np.int64) for of in place]
    same = _same_content(runs, positions)
    if not same.any():
        raise RunError(
            f"the runs have {len(ids):,} image ids in common, but read other bytes under each: "
            f"{ids[0]!r} had {_bytes(runs, positions)}; the same images are needed"
        )
    kept = np.flatnonzero(same)
    if len(kept) < FEWEST:
        raise RunError(f"the runs have {len(kept)} images in common; {FEWEST} are needed")
    target = _targets(runs, [of[kept] for of in positions], [ids[i] for i in kept])
    chosen = np.arange(len(kept))
    if len(kept) > most:
        chosen = np.linspace(0, len(kept) - 1, most).round().astype(np.int64)
    return CommonImages(
        ids=tuple(ids[i] for i in kept[chosen]),
        total=len(kept),
        changed=len(ids) - len(kept),
        positions=tuple(of[kept[chosen]] for of in positions),
        target=target[chosen],
        classes=first.target_classes,
    )


def _check_classes(first: RunSignals, other: RunSignals) -> None:
    classes = [run.target_classes for run in (first, other)]
    if set(classes[0]) == set(classes[1]):
        return
    told = []
    for run, own, others in zip((first, other), classes, reversed(classes), strict=True):
        only = [name for name in own if name not in set(others)]
        if only:
            more = ", ..." if len(only) > _SHOWN else ""
            names = ", ".join(map(repr, only[:_SHOWN]))
            told.append(f"{len(only):,} of {len(own):,} classes of {run.store.parent} are in it "
                        f"alone ({names}{more})")  # fmt: skip
    raise RunError(f"the runs have other target classes: {'; '.join(told)}")


def _same_content(
    runs: Sequence[RunSignals], positions: Sequence[npt.NDArray[np.int64]]
) -> npt.NDArray[np.bool_]:
    """Whether all runs read the same bytes of each image."""
    contents = [run.content[at] for run, at in zip(runs, positions, strict=True)]
    return np.asarray(np.all([(c == contents[0]).all(axis=1) for c in contents], axis=0))


def _bytes(runs: Sequence[RunSignals], positions: Sequence[npt.NDArray[np.int64]]) -> str:
    sizes = [int(run.content[at[0], 0]) for run, at in zip(runs, positions, strict=True)]
    if len(set(sizes)) == 1:
        return f"{sizes[0]:,} bytes that differ"
    return f"{' and '.join(f'{size:,}' for size in sizes)} bytes"


def _targets(
    runs: Sequence[RunSignals], positions: Sequence[npt.NDArray[np.int64]], ids: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Class of each image in the order of the first run's classes, the same in all runs."""
    number = {name: i for i, name in enumerate(runs[0].target_classes)}
    targets = []
    for run, at in zip(runs, positions, strict=True):
        in_first = np.array([number[name] for name in run.target_classes], dtype=np.int64)
        targets.append(in_first[run.target[at]])
    for run, target in zip(runs[1:], targets[1:], strict=True):
        if (target != targets[0]).any():
            place = int(np.flatnonzero(target != targets[0])[0])
            names = [runs[0].target_classes[t[place]] for t in (targets[0], target)]
            raise RunError(
                f"image {ids[place]!r} is of class {names[0]!r} in {runs[0].store.parent} and of "
                f"{names[1]!r} in {run.store.parent}: the ids are of other images"
            )
    return targets[0]
