"""What stands at the side before anything is chosen: what the network has learned."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from ddp_tasks.explorer.node_details import ShownImage
from ddp_tasks.explorer.opened_runs import OpenedRun
from ddp_tasks.explorer.view_state import address_of
from ddp_tasks.queries.findings import RunFindings


@dataclass(frozen=True)
class Statement:
    """One finding, with what choosing it changes in the view."""

    headline: str
    evidence: str
    layer: str
    does: str
    images: list[ShownImage]


@dataclass(frozen=True)
class Start:
    """The findings of a run, or what to say in their place."""

    statements: list[Statement]
    conclusion: str
    says: str
    waits: bool = False
    """whether they are still being read."""


def start(run: OpenedRun, findings: RunFindings) -> Start:
    """Arrange the findings of a run."""
    statements = [
        Statement(
            one.headline,
            one.evidence,
            one.layer,
            urlencode(
                {
                    "run": str(run.number),
                    "layer": one.layer,
                    "at": address_of(one.singular_vector),
                    "view": "layer",
                }
            ),
            [
                ShownImage(
                    shown.image,
                    urlencode({"at": f"image:{shown.image}"}),
                    run.thumbnails[shown.image],
                    shown.target_class,
                    shown.signal,
                )
                for shown in one.exemplars[:5]
            ],
        )
        for one in findings.statements
    ]
    return Start(statements, findings.conclusion.sentence, "")
