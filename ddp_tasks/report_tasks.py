"""The report of a run, as a Prefect task: sections of layers on Dask workers, then the page."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ddp_tasks import report, store
from ddp_tasks.stored_findings import drawn_section, run_findings
from ddp_tasks.summary import Summary
from ddp_tasks.tasks import on_workers, stage
from ddp_tasks.whole_files import write_whole
from schemas.parameters import RunParameters


@stage("report")
def write_report(run: RunParameters, path: Path, page: Path, scheduler: str) -> Summary:
    """Seal the store and lay its figures out as one page that opens with no network."""
    store.seal(path)
    findings = run_findings(run, path)
    anchors = report.anchors(findings.summary)
    shown = [layer for layer in findings.summary.layers if layer.layer in anchors]
    draw = partial(drawn_section, str(path), run.model_dump_json(), anchors)
    drawn = on_workers(
        run, scheduler, draw, shown, key="sections", description="sections of the report"
    )
    sections = {layer.layer: section for layer, section in drawn}
    write_whole(page, report.render(findings, sections))
    return findings.summary
