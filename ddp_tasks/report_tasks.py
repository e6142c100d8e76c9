"""The report of a run, as a Prefect task."""

from __future__ import annotations

import json
from pathlib import Path

from ddp_tasks import report, store
from ddp_tasks.images import open_images
from ddp_tasks.summary import Summary, summarise
from ddp_tasks.tasks import stage
from schemas.parameters import RunParameters


@stage("report")
def write_report(run: RunParameters, path: Path, page: Path) -> Summary:
    """Seal the store and lay its figures out as one page that opens with no network."""
    store.seal(path)
    summary = summarise(
        run,
        store.read(path, "layers").load(),
        store.read(path, "signals"),
        store.read(path, "significance").load(),
    )
    names = store.read(path, "layers")["layer"].to_numpy().tolist()
    findings = report.Findings(
        run=run,
        summary=summary,
        attributes=store.root_attributes(path),
        not_analysed=json.loads(store.root_attributes(path)["not_analysed"]),
        layers=store.read(path, "layers").load(),
        signals=store.read(path, "signals"),
        significance=store.read(path, "significance").load(),
        family=store.read(path, "family").load(),
        stability={
            layer: store.read(path, f"stability/{layer}").load()
            for layer in store.read(path, "layers")["layer"].to_numpy().tolist()
            if store.group_attributes(path, f"stability/{layer}")
        },
        exemplars=store.read(path, "exemplars").load(),
        hypergraphs={n: store.read(path, f"hypergraphs/{n}").load() for n in names},
        hierarchies={n: store.read(path, f"hierarchies/{n}").load() for n in names},
        images=open_images(run.images),
        capacity=store.read(path, "capacity").load() if run.capacity else None,
    )
    part = page.with_suffix(".part")
    part.write_text(report.render(findings))
    part.replace(page)
    return summary
