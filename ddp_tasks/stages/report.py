"""The report of a run, as a Prefect task: sections of layers on Dask workers, then the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from ddp_tasks.files.whole import replacing
from ddp_tasks.queries.summary import Summary
from ddp_tasks.report import run_page
from ddp_tasks.report.page import FragmentFiles
from ddp_tasks.stages.stage import on_workers, stage
from ddp_tasks.store import groups
from ddp_tasks.store.identity import MadeOf
from ddp_tasks.workers.sections import draw_section
from schemas.parameters import RunParameters

_SECTIONS = ".ddp-sections-"


@stage("report")
def write_report(run: RunParameters, path: Path, page: Path, scheduler: str) -> Summary:
    """Seal the store and lay its figures out as one page that opens with no network."""
    groups.seal(path)
    findings = run_page.read_findings(run, path)
    anchors = run_page.anchors(findings.summary)
    with _room(page.parent) as folder:
        files = {layer: FragmentFiles(folder, anchor) for layer, anchor in anchors.items()}
        made_of = MadeOf.of_store(findings.attributes)
        draw = partial(draw_section, str(path), run.model_dump_json(), made_of)
        drawn = on_workers(
            run,
            scheduler,
            draw,
            [(layer, files[layer.layer]) for layer in findings.summary.layers],
            key="sections",
            description="sections of the report",
            named=lambda one: f"section of {one[0].layer}",
        )
        for _ in drawn:
            pass
        with replacing(page) as file:
            file.writelines(piece.encode() for piece in run_page.pieces(findings, files))
    return findings.summary


@contextmanager
def _room(folder: Path) -> Iterator[Path]:
    """A folder for the sections of a page, which all workers see; it goes when the page is there.

    Held in memory, the sections of all layers would take more than anything else in the flow.
    """
    for left in folder.glob(f"{_SECTIONS}*"):  # of a run that was killed
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
    with TemporaryDirectory(prefix=_SECTIONS, dir=folder) as room:
        yield Path(room)
