"""Comparing what the networks of finished runs have learned, as a flow."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from ddp_tasks.queries import comparison_tables, table_files
from ddp_tasks.queries.model_comparison import MOST_IMAGES, ModelComparison, compare_models
from ddp_tasks.report import comparison_page
from ddp_tasks.stages.artifacts import artifact_key, as_text, await_shown, show
from flows import prefect_server
from flows.forms import PLACE, shown_as
from flows.labels import labelled_comparison
from flows.output_folder import Out, made_folder
from flows.result_places import places_artifact

#: Rows of the table in the UI; the file has them all.
_MOST_ROWS = 200


@flow(name="ddp-compare", flow_run_name="{page.stem}")
def run_comparison(
    folders: Annotated[
        list[Out],
        shown_as(
            "Folders of finished runs",
            f"two or more, of seeds, checkpoints or architectures; each a {PLACE}",
        ),
    ],
    page: Annotated[
        Out, shown_as("Page", "the file to write, NAME.html; NAME.csv beside it has the table")
    ],
    layer: Annotated[str, shown_as("Layers", "name or glob of the layers to compare")] = "*",
    images: Annotated[
        int, shown_as("Images", "common images to compare on, at most", ge=10)
    ] = MOST_IMAGES,
) -> Path:
    """Compare what the networks of finished runs have learned, on the images that they share.

    Parameters
    ----------
    folders
        of the runs.
    page
        receives the page; a CSV file of the same name has the pairs of layers.
    layer
        name or glob of the layers.
    images
        to compare at most.

    Returns
    -------
    the page

    Raises
    ------
    RunError
        If the runs cannot be compared, or the page cannot be written.
    """
    page = made_folder(page.parent) / page.name
    table_files.check_file(page, (".html",))
    log = get_run_logger()
    with prefect_server.cancelled_when_stopped(), labelled_comparison(page.stem):
        compared = compare_models(
            folders, layer=layer, most=images, reading=lambda what: log.info("comparing: %s", what)
        )
        table = page.with_suffix(".csv")
        table_files.write_table(comparison_tables.layers_frame(compared), table)
        page = comparison_page.write(compared, page)
        _publish(compared, page, table)
        log.info("%s and %s are written", page, table)
        return prefect_server.left(page)


def comparison_sentences(compared: ModelComparison) -> list[str]:
    """What a comparison tells, beside chance."""
    stable = [one.sentence for one in comparison_tables.stable_sets(compared)]
    return [*stable, comparison_tables.matching_sentence(compared)]


def _publish(compared: ModelComparison, page: Path, table: Path) -> None:
    rows = [
        {
            "networks": f"{row['a']}, {row['b']}",
            "layer": row["layer_a"],
            "other layer": row["layer_b"],
            "CKA": _number(row["cka"]),
            "vectors matched": f"{row['vectors_matched']} of {row['vectors']}",
            "|r|": _number(row["correlation"]),
            "|r| in random bases": _number(row["correlation_turned"]),
            "sets of classes kept": _number(row["surviving"]),
        }
        for row in comparison_tables.layers_frame(compared).head(_MOST_ROWS).to_dict("records")
    ]
    names = ", ".join(network.name for network in compared.networks)
    show(
        partial(
            create_table_artifact,
            key=artifact_key("comparison"),
            table=rows,
            description=f"{as_text(names)}: pairs of layers on {len(compared.images.ids):,} images",
        )
    )
    places = places_artifact(page.stem, {"comparison": page, "table": table})
    told = "".join(f"- {as_text(one, 1000)}\n" for one in comparison_sentences(compared))
    places["markdown"] = f"{places['markdown']}\n\n## What holds\n\n{told}"
    show(partial(create_markdown_artifact, key=artifact_key("results"), **places))
    await_shown()


def _number(value: float) -> float | None:
    return None if value != value else round(float(value), 3)  # noqa: PLR0124 - NaN is no JSON
