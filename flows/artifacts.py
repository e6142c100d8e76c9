"""The artifacts of a run in the Prefect UI."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import xarray as xr
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from ddp_tasks.capacity.tables import model_rows
from ddp_tasks.figures.notation import abbreviated
from ddp_tasks.images.unreadable import unreadable_sentence
from ddp_tasks.queries.findings import read_findings
from ddp_tasks.queries.pictures import open_pictures
from ddp_tasks.queries.summary import Discriminating, LayerSummary, Summary, significant_vectors
from ddp_tasks.report.fragments import anchors
from ddp_tasks.stages.artifacts import artifact_key, as_text, await_shown, show
from flows.result_places import places_artifact, places_markdown, served_at
from flows.texts.findings import findings_markdown
from flows.texts.run import judged_sentence, q_text
from schemas.parameters import RunParameters
from schemas.recording import recorded
from schemas.shown import shown
from schemas.zoo import ZooParameters

#: Rows of a significance table in the UI; the store has them all.
_MOST_ROWS = 200
_LONGEST_LIST = 3000
_MOST_CLASSES, _CLASSES_OF_VECTOR = 5, 20


def publish(run: RunParameters, places: Mapping[str, Path]) -> None:
    """Say where the results of a finished run are, and wait until all artifacts are sent."""
    _show(
        create_markdown_artifact,
        key=artifact_key("results"),
        **places_artifact(run.name, places),
    )
    await_shown()


def publish_findings(
    run: RunParameters, summary: Summary, store: Path, places: Mapping[str, Path]
) -> None:
    """Have summary and significance tables of layers read and created while the report is drawn.

    Layers that have no section in the report have no table either; the summary names them all.

    Parameters
    ----------
    places
        of the results, by what they are.
    """
    show(partial(_create_summary, run, summary, store, places))
    for layer in (one for one in summary.layers if one.layer in anchors(summary)):
        show(partial(_create_table, run, store, layer))


def _create_summary(
    run: RunParameters, summary: Summary, store: Path, places: Mapping[str, Path]
) -> None:
    told = findings_markdown(
        read_findings(recorded(run), store),
        open_pictures(store.parent),
        served_at(places["report"]),
    )
    create_markdown_artifact(
        key=artifact_key("summary"),
        markdown=summary_markdown(summary, places, told),
        description=as_text(run.name),
    )


def _create_table(run: RunParameters, store: Path, layer: LayerSummary) -> None:
    vectors = significant_vectors(run, store, layer.layer)
    create_table_artifact(
        key=artifact_key("significance", layer.layer),
        table=[significance_row(vector) for vector in vectors[:_MOST_ROWS]],
        description=f"{as_text(layer.layer)}: singular vectors significant for at least "
        f"{layer.percentage:g} % of a class at the {100 * layer.quantile:g} % quantile "
        f"(q = {q_text(layer.thresholds)}); {min(len(vectors), _MOST_ROWS)} of {len(vectors)} "
        "shown",
    )


def publish_zoo(zoo: ZooParameters, table: xr.Dataset, store: Path, page: Path) -> None:
    """Create the artifacts of a list of models: the table over models, and the links."""
    rows: list[dict[str, object]] = [
        {
            "model": shown(one.model),
            "family": shown(one.family),
            "accuracy": one.accuracy,
            "layers": one.layers,
            **{f"α̂ {matrization}": total for matrization, total in one.total.items()},
            "failed": one.error,
        }
        for one in model_rows(table, {})
    ]
    _show(
        create_table_artifact,
        key=artifact_key("capacity"),
        table=rows,
        description=f"{as_text(zoo.name)}: α̂ of Eq. 12",
    )
    _show(
        create_markdown_artifact,
        key=artifact_key("results"),
        **places_artifact(zoo.name, {"report": page, "store": store}),
    )
    await_shown()


def _show(create: Callable[..., object], **what: object) -> None:
    """Create an artifact in the background; Prefect may refuse it."""
    show(partial(create, **what))


def summary_markdown(summary: Summary, places: Mapping[str, Path], told: Sequence[str] = ()) -> str:
    """The run's findings as a page of Markdown, and where its results are.

    Parameters
    ----------
    places
        of the results, by what they are.
    told
        lines on what the network has learned, as in ``findings_markdown``.
    """
    lines = [
        f"# {as_text(summary.title)}",
        f"{summary.images} images of {summary.target_classes} classes, accuracy "
        f"{summary.accuracy:.1%}.",
        *(["", f"**{as_text(summary.warning, _LONGEST_LIST)}.**"] if summary.warning else []),
        *(
            ["", f"{as_text(unreadable_sentence(summary.unreadable), _LONGEST_LIST)}."]
            if summary.unreadable
            else []
        ),
        "",
        *told,
        "## Layers",
        "",
        "| layer | weight | rank | quantile | p | q | nodes | hyperedges | eq. classes |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {as_text(s.layer)} | {s.shape} | {s.rank} | {s.quantile:g} | {s.percentage:g} % "
        f"| {q_text(s.thresholds)} | {s.nodes} | {s.hyperedges} | {s.equivalence_classes} |"
        for s in summary.layers
    ]
    lines += ["", "## Singular vectors with the greatest η²", "", judged_sentence(summary), ""]
    lines += [
        f"{place}. **{as_text(v.layer)} {v.name}** (s = {v.singular_value:.3g}, "
        f"η² = {v.eta_squared:.2f}, of signals {v.eta_squared_of_signals:.2f}): "
        f"{as_text(abbreviated(v.significant_for, _CLASSES_OF_VECTOR), _LONGEST_LIST)}"
        for place, v in enumerate(summary.discriminating, start=1)
    ]
    return "\n".join([*lines, "", "## Results", "", places_markdown(places)])


def significance_row(vector: Discriminating) -> dict[str, object]:
    """A singular vector that is significant for a class, as a row of its layer's table."""
    return {
        "singular vector": vector.name,
        "singular value": round(vector.singular_value, 4),
        "η²": round(vector.eta_squared, 3),
        "η² of signals": round(vector.eta_squared_of_signals, 3),
        "significant for": _classes(vector.by_fraction()),
    }


def _classes(fractions: Sequence[tuple[str, float]]) -> str:
    """The first classes with their fractions, greatest first, and how many more there are."""
    named = [f"{shown(name, 120)} ({share:.0%})" for name, share in fractions[:_MOST_CLASSES]]
    more = len(fractions) - len(named)
    return ", ".join(named) + (f" and {more} more (from {fractions[-1][1]:.0%})" if more else "")
