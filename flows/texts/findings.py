"""The first findings of a run as Markdown, with their pictures, for Prefect's UI."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
from PIL import Image

from ddp_tasks.queries.findings import RunFindings
from ddp_tasks.queries.statements import Finding
from ddp_tasks.stages.artifacts import as_text

#: Findings with pictures, images of each, and the longest side of one in pixels.
_PICTURED, _IMAGES, _SIDE = 1, 6, 64
_LONGEST = 3000


def findings_markdown(
    findings: RunFindings, pictures: Mapping[str, npt.NDArray[np.uint8]], report: str = ""
) -> list[str]:
    """What the network has learned: its statements, the first with its strongest images.

    Parameters
    ----------
    pictures
        small copies of images by id, shape (y, x, 3).
    report
        address at which the report is served; empty if it is not.
    """
    lines = ["## What the network has learned", ""]
    for place, finding in enumerate(findings.statements, start=1):
        headline, evidence = (
            as_text(words, _LONGEST) for words in (finding.headline, finding.evidence)
        )
        layer = as_text(finding.layer)
        linked = f"[{layer}]({report}#{quote(finding.address)})" if report else layer
        lines += [f"**{linked}**: {headline}. {evidence}", ""]
        if place <= _PICTURED:
            lines += _strongest(finding, pictures)
    return [*lines, f"{as_text(findings.conclusion.sentence, _LONGEST)}.", ""]


def _strongest(finding: Finding, pictures: Mapping[str, npt.NDArray[np.uint8]]) -> list[str]:
    """The strongest images of a finding below their classes."""
    shown = [one for one in finding.exemplars if one.image in pictures][:_IMAGES]
    if not shown:
        return []
    cells = [
        [as_text(one.target_class) for one in shown],
        ["---"] * len(shown),
        [_picture(pictures[one.image], one.image) for one in shown],
    ]
    return [*(f"| {' | '.join(row)} |" for row in cells), ""]


def _picture(picture: npt.NDArray[Any], image: str) -> str:
    """An image of the run within the text, enlarged by whole steps where it is very small."""
    opened = Image.fromarray(np.asarray(picture, dtype=np.uint8))
    steps = max(1, _SIDE // max(opened.size))
    opened = opened.resize((opened.width * steps, opened.height * steps), Image.Resampling.NEAREST)
    opened.thumbnail((_SIDE, _SIDE))
    written = io.BytesIO()
    opened.save(written, "PNG", optimize=True)
    data = base64.b64encode(written.getvalue()).decode("ascii")
    return f"![{as_text(image)}](data:image/png;base64,{data})"
