"""What the terminal says at the end of a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ddp_tasks.preparation import Prepared
from ddp_tasks.tensor_svd import decompose
from ddp_tasks.unfolding import unfold_weight

if TYPE_CHECKING:
    from flows.pipeline import Outcome


def closing_lines(outcome: Outcome, seconds: Mapping[str, float], total: float) -> str:
    """Where the results are, what was found, and where the time went."""
    summary = outcome.summary
    lines = [
        "",
        f"{summary.title}: {summary.images} images of {summary.target_classes} classes, "
        f"accuracy {summary.accuracy:.1%}",
        "",
        *_columns(
            ("layer", "rank", "quantile", "p", "nodes", "hyperedges", "equivalence classes"),
            [
                (
                    s.layer,
                    s.rank,
                    f"{s.quantile:g}",
                    f"{s.percentage:g} %",
                    s.nodes,
                    s.hyperedges,
                    s.equivalence_classes,
                )
                for s in summary.layers
            ],
        ),
        "",
        "The most discriminating singular vectors (η²: share of the variance of significant or",
        "not that the class explains):",
        *_columns(
            ("vector", "s", "η²", "significant for"),
            [
                (
                    f"{v.layer} v{v.singular_vector}{'*' if v.arbitrary else ''}",
                    f"{v.singular_value:.3f}",
                    f"{v.eta_squared:.2f}",
                    ", ".join(v.significant_for),
                )
                for v in summary.discriminating
            ],
        ),
    ]
    if any(v.arbitrary for v in summary.discriminating):
        lines.append("* its singular value is too close to another's: the vector is arbitrary")
    lines += [
        "",
        f"{total:.1f} s: " + ", ".join(f"{k} {v:.1f}" for k, v in seconds.items()),
        "",
        f"store        {outcome.store}",
        f"report       {outcome.report}",
        f"hypergraphs  {outcome.hypergraphs}",
    ]
    return "\n".join(lines)


def layer_lines(prepared: Prepared) -> str:
    """The linear layers of a run with their shapes and ranks, and what is not analysed."""
    rows = []
    for layer in prepared.layers.linear:
        weight = unfold_weight(prepared.model.get_submodule(layer.module).weight)  # type: ignore[arg-type]
        rows.append(
            (
                layer.name,
                layer.kind,
                " × ".join(map(str, layer.shape)),
                layer.groups,
                " × ".join(map(str, weight.shape)),
                decompose(weight, layer.groups).rank,
            )
        )
    lines = _columns(("layer", "kind", "weight", "groups", "unfolded", "rank"), rows)
    lines += [f"not analysed: {n} ({why})" for n, why in prepared.layers.not_analysed.items()]
    return "\n".join(lines)


def _columns(header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> list[str]:
    table = [header, *[tuple(map(str, row)) for row in rows]]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    return [
        "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
