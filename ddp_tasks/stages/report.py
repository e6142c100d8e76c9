"""The report of a run, as a Prefect task: sections of layers on Dask workers, then the page."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from ddp_tasks.queries.summary import Summary
from ddp_tasks.report.fragments import FragmentFiles, anchors
from ddp_tasks.stages.stage import over_workers, stage
from ddp_tasks.store import groups, trees
from ddp_tasks.workers import kept
from ddp_tasks.workers.sections import draw_section, write_page
from ddp_tasks.workers.stored_run import StoredRun
from schemas.object_paths import ObjectPath
from schemas.parameters import RunParameters

_SECTIONS = ".ddp-sections-"


def _is_laid_out(
    run: RunParameters, _summary: Summary, path: Path, page: Path, _scheduler: str
) -> str | None:
    """Whether there is a report of the store, which is sealed."""
    groups.seal(path)
    return f"{page}: kept from before" if kept.is_laid_out(run, path, page) else None


#: Stages whose results a page shows, less those that one of them needs.
_SHOWN = (
    *("capacity", "extraction", "spatial", "pictures", "projections", "family", "stability"),
    *("controls", "visualizations", "ablation"),
)


@stage("report", after=_SHOWN, unless=_is_laid_out)
def write_report(
    run: RunParameters, summary: Summary, path: Path, page: Path, scheduler: str
) -> None:
    """Write the report of a sealed store as one page that needs no network."""
    with _room(page.parent) as folder:
        files = {layer: FragmentFiles(folder, anchor) for layer, anchor in anchors(summary).items()}
        stored = StoredRun.of(path, run)
        with over_workers(
            scheduler,
            run.shards.patience,
            key="sections",
            description="sections of the report",
            total=len(summary.layers),
            named=lambda one: f"section of {one[0].layer}",
        ) as mapped:
            sections = [(layer, files[layer.layer]) for layer in summary.layers]
            for _ in mapped(partial(draw_section, stored), sections):
                pass
        with over_workers(
            scheduler,
            run.shards.patience,
            key="page",
            description="page of the report",
            total=1,
        ) as mapped:
            for _ in mapped(partial(write_page, stored, files), [str(page)]):
                pass


@contextmanager
def _room(folder: Path) -> Iterator[Path]:
    """A temporary folder for the sections of a page, which all workers see.

    In memory, the sections of all layers would take more than anything else in the flow.
    """
    if isinstance(folder, ObjectPath):
        for old in folder.glob(f"{_SECTIONS}*"):
            trees.remove(old)
        objects = folder / f"{_SECTIONS}{secrets.token_hex(8)}"
        try:
            yield objects
        finally:
            trees.remove(objects)
        return
    for left in folder.glob(f"{_SECTIONS}*"):  # of a run that was killed
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
    with TemporaryDirectory(prefix=_SECTIONS, dir=folder) as room:
        yield Path(room)
