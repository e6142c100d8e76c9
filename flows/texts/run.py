"""Texts of the terminal at the end of a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ddp_tasks.capacity.tables import model_rows
from ddp_tasks.figures.notation import abbreviated
from ddp_tasks.images.unreadable import unreadable_sentence
from ddp_tasks.networks.decomposition import layer_ranks
from ddp_tasks.prepared_run import Prepared, by_reason
from flows.texts.columns import columns

if TYPE_CHECKING:
    from ddp_tasks.queries.summary import Summary
    from flows.capacity import ZooOutcome
    from flows.outcome import Outcome

#: Most classes named for a vector; the number of further ones is added.
_CLASSES_NAMED = 20


def closing_lines(outcome: Outcome, seconds: Mapping[str, float], total: float) -> str:
    """The findings of a run, the seconds of its parts, and the paths of its results."""
    summary = outcome.summary
    lines = [
        "",
        f"{summary.title}: {summary.images} images of {summary.target_classes} classes, "
        f"accuracy {summary.accuracy:.1%}",
        *([unreadable_sentence(summary.unreadable)] if summary.unreadable else []),
        *[
            f"{one.missed} of these images do not reach layer {one.layer}"
            for one in summary.layers
            if one.missed
        ],
        "",
        *columns(
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
        "Singular vectors with the greatest η², the share of the variance that the class explains,",
        "of “significant or not” and of the signals. " + judged_sentence(summary),
        *columns(
            ("vector", "s", "η²", "of signals", "significant for"),
            [
                (
                    f"{v.layer} {v.name}",
                    f"{v.singular_value:.3f}",
                    f"{v.eta_squared:.2f}",
                    f"{v.eta_squared_of_signals:.2f}",
                    abbreviated(v.significant_for, _CLASSES_NAMED),
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
    if summary.warning:  # last, where a person looks when a command has ended
        lines += ["", f"{summary.warning}."]
    return "\n".join(lines)


def judged_sentence(summary: Summary) -> str:
    """On which images fractions and η² are told."""
    told = f"{summary.judged_on:,} images"
    if summary.split:
        return f"Fractions and η² are told on {told}, and others chose thresholds and vectors."
    return f"All {told} both chose and judge them (significance.split: null), which flatters them."


def q_text(thresholds: Sequence[float]) -> str:
    """Thresholds q of the directions of the nodes."""
    return ", ".join(f"{q:.4g}" for q in thresholds)


def zoo_lines(outcome: ZooOutcome) -> str:
    """α̂ and accuracy of each model, the models that failed, and the paths of the results."""
    table = outcome.table
    matrizations = table["matrization"].to_numpy().tolist()
    models = model_rows(table, {})
    rows = [
        (
            one.model,
            one.layers,
            one.accuracy,
            *(f"{one.total[m]} ({one.mean[m]})" for m in matrizations),
        )
        for one in models
    ]
    cautions = [f"{one.model}: {one.cautions}" for one in models if one.cautions]
    lines = [
        "",
        "α̂, the sum over layers of α · ln λmax (Eq. 12), ± its standard error, and in brackets its "
        "mean over layers ± that of the mean:",
        *columns(("model", "layers", "accuracy", *matrizations), rows),
        *(["", "To be read with care:", *cautions] if cautions else []),
    ]
    lines += [f"failed: {name}: {why}" for name, why in outcome.errors.items()]
    return "\n".join([*lines, "", f"store   {outcome.store}", f"report  {outcome.report}"])


def layer_lines(prepared: Prepared) -> str:
    """The linear layers of a run with their shapes and ranks, and modules not analysed."""
    ranks, refused = layer_ranks(prepared.model, prepared.layers.linear)
    rows = []
    for layer in prepared.layers.linear:
        if layer.name in ranks:
            weight, unfolded = (
                " × ".join(map(str, shape)) for shape in (layer.shape, layer.unfolded_shape)
            )
            rows.append((layer.name, layer.kind, weight, layer.groups, unfolded, ranks[layer.name]))
    lines = columns(("layer", "kind", "weight", "groups", "unfolded", "rank"), rows)
    if prepared.weights is not None:
        lines.append(f"weights: {prepared.weights}")
    not_analysed = {**prepared.layers.not_analysed, **refused}
    lines += [f"not analysed: {modules}" for modules in by_reason(not_analysed)]
    return "\n".join(lines)
