"""What the terminal says of networks compared."""

from __future__ import annotations

import math

from ddp_tasks.queries.comparison_tables import (
    findings_frame,
    layers_frame,
    matching_sentence,
    stable_sets,
)
from ddp_tasks.queries.model_comparison import ModelComparison
from flows.texts.columns import columns

#: Rows of each table.
_ROWS, _FINDINGS = 40, 20


def comparison_lines(comparison: ModelComparison) -> str:
    """Pairs of layers, the most stable findings, and what holds beside chance."""
    images = comparison.images
    of = f" of {images.total:,}" if images.total > len(images.ids) else ""
    lines = [
        f"{', '.join(network.name for network in comparison.networks)}: compared on "
        f"{len(images.ids):,}{of} common images of {len(images.classes)} classes"
    ]
    if images.changed:
        lines.append(f"left out: {images.changed:,} ids under which the runs read other bytes")
    frame = layers_frame(comparison)
    rows = [
        (
            f"{row['a']}, {row['b']}",
            row["layer_a"] if row["layer_a"] == row["layer_b"] else
            f"{row['layer_a']}, {row['layer_b']}",
            _number(row["cka"]),
            f"{row['vectors_matched']} of {row['vectors']}",
            _number(row["correlation"]),
            _number(row["correlation_turned"]),
            _number(row["correlation_permuted"]),
            _percent(row["surviving"]),
            _percent(row["surviving_renamed"]),
            _percent(row["surviving_turned"]),
            _percent(row["surviving_varied"]),
            _percent(row["incidences_kept"]),
        )
        for row in frame.head(_ROWS).to_dict("records")
    ]  # fmt: skip
    header = (
        "networks", "layers", "CKA", "matched", "|r|", "turned", "permuted", "sets kept",
        "names", "bases", "variances", "incidences kept",
    )  # fmt: skip
    lines += ["", *columns(header, rows)]
    if len(frame) > _ROWS:
        lines.append(f"{len(frame) - _ROWS:,} more rows are on the page")
    return "\n".join([*lines, "", *_findings(comparison)])


def _findings(comparison: ModelComparison) -> list[str]:
    frame = findings_frame(comparison)
    several = frame[frame["networks"] > 1]
    lines = []
    every = len(comparison.images.classes)
    if len(several):
        rows = [
            (
                row["layer"],
                f"{row['networks']} of {row['of']}",
                f"{row['renamed']:.2f}",
                f"{row['turned']:.2f}",
                f"{row['varied']:.2f}",
                f"all {every} classes" if row["classes"] == every else row["target_classes"],
            )
            for row in several.head(_FINDINGS).to_dict("records")
        ]
        header = (
            "layer", "networks", "names", "bases", "variances",
            "a vector is significant for exactly",
        )  # fmt: skip
        lines += columns(header, rows)
        if len(several) > _FINDINGS:
            lines.append(f"{len(several) - _FINDINGS:,} more sets are in several networks")
    else:
        lines.append("no set of classes is found in more than one network")
    return [
        *lines,
        "",
        *(one.sentence for one in stable_sets(comparison)),
        matching_sentence(comparison),
        "",
        "names: the same with the classes of each network permuted by name; bases, turned: in "
        "random bases; variances: in those that keep each signal's variance; permuted: images",
    ]


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0%}"
