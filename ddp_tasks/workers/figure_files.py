"""One figure of a finished run as a file: what ``ddp figure KIND`` writes."""

from __future__ import annotations

from pathlib import Path

import holoviews as hv

from ddp_tasks.files.whole import may_be_folder
from ddp_tasks.queries.finished_run import FinishedRun, open_finished
from ddp_tasks.queries.summary import Summary, read_summary
from ddp_tasks.report.drawn_files import ENDINGS, write_figure
from ddp_tasks.store import groups
from ddp_tasks.workers.sections import layer_findings, run_thumbnails
from ddp_tasks.workers.stored_run import StoredRun
from schemas.figure_names import OF_LAYER, OF_PAPER, OF_RUN
from schemas.names import file_name
from schemas.parameters import RunError
from schemas.run_files import nearest
from schemas.shown import shown


def write(folder: Path, kind: str, layer: str | None = None, out: Path | None = None) -> Path:
    """Write a figure of a finished run as SVG or PNG.

    Parameters
    ----------
    kind
        one of ``OF_LAYER`` or ``OF_RUN``.
    layer
        None takes that of the vector with the greatest η²; figures of a run take none.
    out
        the file; None takes ``KIND-LAYER.svg`` in the run's folder.

    Returns
    -------
    the file

    Raises
    ------
    RunError
        If there is no such figure, layer or folder, or the figure cannot be drawn.
    """
    if kind not in OF_LAYER | OF_RUN:
        known = [*OF_PAPER, *OF_LAYER, *OF_RUN]
        raise RunError(
            f"figure: {shown(repr(kind))} is refused{nearest(kind, known)}; allowed: "
            f"{', '.join(known)}"
        )
    if kind in OF_RUN and layer is not None:
        raise RunError(f"layer: {kind} is of the whole run; leave the layer out")
    finished = open_finished(folder)
    if layer is not None:
        finished.check_layer(layer)
    summary = None if kind in OF_RUN else read_summary(finished.run, finished.store)
    if summary is not None and layer is None:
        layer = _telling(summary)
    name = kind if layer is None else f"{kind}-{file_name(layer)}"
    file = out.expanduser() if out else folder.expanduser() / f"{name}.svg"
    if file.suffix not in ENDINGS or file.is_dir() or not may_be_folder(file.parent):
        raise RunError(
            f"out: {shown(repr(str(file)))} is refused; name a file that ends with .svg or .png, "
            "in a folder that exists",
            change=("out",),
        )
    drawn = of_run(finished) if summary is None else of_layer(finished, summary, str(layer))
    if kind not in drawn:
        raise RunError(
            f"figure: {kind} is not there: {_place(layer)} has {', '.join(drawn) or 'no figure'}"
        )
    write_figure(drawn[kind], f"{kind} of {_place(layer)}: {(OF_LAYER | OF_RUN)[kind]}", file)
    return file.resolve()


def _place(layer: str | None) -> str:
    return "the run" if layer is None else f"layer {layer}"


def _telling(summary: Summary) -> str:
    """The layer of the vector with the greatest η², or the last where none is significant."""
    first = next(iter(summary.discriminating), None)
    return summary.layers[-1].layer if first is None else first.layer


def of_layer(finished: FinishedRun, summary: Summary, layer: str) -> dict[str, hv.Overlay]:
    """All figures of a layer that there are, by kind."""
    from ddp_tasks.figures.optimised_pictures import optimised_pictures
    from ddp_tasks.report.layer_section import layer_figures

    stored = StoredRun.of(finished.store, finished.run)
    of_layer = next(one for one in summary.layers if one.layer == layer)
    findings = layer_findings(stored, of_layer)
    optimised = optimised_pictures(findings.visualizations)
    drawn = layer_figures(findings, run_thumbnails(stored), optimised)
    return {_kind(key): figure for key, figure in drawn.items()}


def _kind(key: str) -> str:
    return key.replace(" ", "-").replace("equivalence_", "")


def of_run(finished: FinishedRun) -> dict[str, hv.Overlay]:
    """All figures of the whole run that there are, by kind."""
    from ddp_tasks.report import capacity_page, controls_section

    drawn = controls_section.run_section(groups.read(finished.store, "controls").load())[1]
    if groups.is_marked(finished.store, "capacity"):
        of_capacity = capacity_page.model_figures(groups.read(finished.store, "capacity").load())[1]
        drawn |= {"spectra": of_capacity["layers"]} if "layers" in of_capacity else {}
    return dict(drawn)
