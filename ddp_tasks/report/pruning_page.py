"""The page on pruned networks of a run."""

from __future__ import annotations

import json
from pathlib import Path

from ddp_tasks.figures.pruning_figures import AXES, accuracy_curves
from ddp_tasks.files.whole import write_whole
from ddp_tasks.queries.pruning import Pruning, words
from ddp_tasks.report import page
from ddp_tasks.store import groups


def write(found: Pruning, file: Path) -> None:
    """Write accuracy against parameters and time, by criterion, beside random vectors.

    Parameters
    ----------
    file
        the page, in an existing folder.
    """
    table = found.table
    states = table["batch_norm"].unique().tolist()
    titles = {state: f"BatchNorms {state}" if len(states) > 1 else "" for state in states}
    plots = {
        f"{along} {state}": accuracy_curves(
            table[table["batch_norm"] == state], along, titles[state]
        )
        for along in AXES
        for state in states
    }
    network = found.network
    attributes = groups.root_attributes(network.finished.store)
    parameters = json.loads(attributes["run_parameters"])
    content = page.rendered(
        "pruning.html.jinja",
        plots,
        found=found,
        states=states,
        rows=table.to_dict("records"),
        words=words,
        level=f"{100 * found.confidence:g} %",
        left_out=network.left_out,
        layers=len(network.layers),
        attributes=attributes,
        versions=json.loads(attributes["software_versions"]),
        parameters=json.dumps(parameters, indent=2),
        run_name=parameters["name"],
    )
    write_whole(file, content)
