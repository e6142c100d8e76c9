"""A folder of checkpoints analysed as it grows: what is new is run, the newest compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

from prefect import State, flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.states import get_state_exception

from ddp_tasks.queries.analysed_weights import AnalysedFolder, AnalysedWeights
from ddp_tasks.report.provenance import made_of_page
from ddp_tasks.stages.artifacts import artifact_key, as_text, await_shown, show
from ddp_tasks.store import run_lock
from flows import prefect_server
from flows.checkpoint_folder import PATTERNS, CheckpointFile, Digests, checkpoint_files
from flows.comparison import run_comparison
from flows.forms import PLACE, Run, run_of, shown_as
from flows.labels import labelled_night
from flows.output_folder import Out, made_folder
from flows.pipeline import run_pipeline
from flows.texts.nightly import Checkpoint, Night, counted, night_markdown
from schemas.names import file_name
from schemas.parameters import RunParameters
from schemas.run_error import RunError

#: One night at a time in a folder of results.
_LOCK = "nightly.lock"

_DIGITS = 8


class NightError(RunError):
    """Some checkpoints failed; the others are analysed."""

    def __init__(self, night: Night) -> None:
        """Name what failed, each with its cause."""
        failed = "\n".join(f"  {one}" for one in night.failed)
        super().__init__(f"{counted(night.checkpoints)}:\n{failed}")
        self.night = night


@flow(name="ddp-nightly", flow_run_name="{checkpoints.name}")
def run_nightly(
    checkpoints: Annotated[
        Out, shown_as("Folder of checkpoints", f"{PLACE}; it is read and never written to")
    ],
    run: Run,
    out: Annotated[
        Out, shown_as("Folder for the results", "receives a folder for each checkpoint's run")
    ],
    *,
    patterns: Annotated[
        list[str], shown_as("Patterns", "globs of the checkpoints' names in the folder")
    ] = list(PATTERNS),  # noqa: B006 - Prefect copies it
    settled: Annotated[
        float,
        shown_as(
            "Settled",
            "seconds since its last change after which a checkpoint counts as whole; one changed "
            "later may still be written, and is left for the next night",
            ge=0,
        ),
    ] = 60.0,
    compare: Annotated[
        bool, shown_as("Compare", "compare the newest checkpoint with the one before")
    ] = True,
) -> Night:
    """Analyse the checkpoints of a folder that are new, and compare the newest with the one before.

    Each new checkpoint is a run of its own, in its own folder. One whose weights are analysed
    already is known by their digest, whatever its name. One that fails does not stop the others;
    the flow fails at the end and names it. Started again, the flow does what is left.

    Parameters
    ----------
    checkpoints
        the folder; only files that match ``patterns`` are read, and none is unpickled.
    run
        of which each checkpoint takes the place of the weights.
    out
        receives NAME-DIGEST for each run, and ``comparisons``.
    patterns
        globs of names.
    settled
        seconds.
    compare
        whether the two last checkpoints are compared.

    Raises
    ------
    NightError
        If checkpoints or the comparison failed.
    RunError
        If the run trains its network, a folder cannot be used, or another night is at work in it.
    """
    template = _template(run_of(run))
    files = checkpoint_files(checkpoints, patterns)
    out = made_folder(out)
    log, title = get_run_logger(), checkpoints.resolve().name
    with (
        run_lock.held(out, _LOCK),
        prefect_server.cancelled_when_stopped(),
        labelled_night(title),
    ):
        digests, analysed = Digests(out, template.model), AnalysedFolder(out)
        done = []
        for file in files:
            came = _one(template, file, digests, analysed, settled)
            digests.keep(files)
            log.info("%s: %s %s", came.name, came.came, came.why)
            done.append(came)
        page, why = _compared(done, out) if compare else (None, "")
        night = Night(tuple(done), page, why)
        _publish(title, night)
        if night.failed:
            raise NightError(night)
        return prefect_server.left(night)


def _template(run: RunParameters) -> RunParameters:
    if run.model.training is not None:
        raise RunError(
            f"{run.name} trains its network; for checkpoints leave model.training out",
            change=("model.training",),
        )
    return run


def _one(
    template: RunParameters,
    file: CheckpointFile,
    digests: Digests,
    analysed: AnalysedFolder,
    settled: float,
) -> Checkpoint:
    name = file.path.name
    if file.is_written(settled):
        return Checkpoint(name, "left", why="still being written")
    try:
        digest = digests.of(file)
    except RunError as error:
        if file.is_written(settled):
            return Checkpoint(name, "left", why="still being written")
        return Checkpoint(name, "failed", why=str(error))
    model = template.model.model_copy(update={"weights": str(file.path)})
    run = template.model_copy(update={"name": file.path.stem, "model": model})
    before = analysed.of(digest)
    if before is not None and made_of_page(before.folder / "report.html") is not None:
        return Checkpoint(name, "known", before.folder, _differs(before, run))
    # An unfinished run is continued where it is.
    folder = analysed.out / f"{file_name(file.path.stem)}-{digest[:_DIGITS]}"
    folder = folder if before is None else before.folder
    why = _carried_out(run_pipeline, run, folder)
    analysed.look_at(folder)
    return Checkpoint(name, "failed" if why else "analysed", folder, why)


def _differs(before: AnalysedWeights, run: RunParameters) -> str:
    difference = before.difference(run)
    return f"analysed with other parameters: {difference}" if difference else ""


def _carried_out(flow: Callable[..., object], *args: object) -> str:
    """Carry out a flow within this one; say why it failed, or nothing."""
    with prefect_server.within_a_flow():
        state = cast("State[Any]", flow(*args, return_state=True))
    return "" if state.is_completed() else str(get_state_exception(state))


def _compared(done: Sequence[Checkpoint], out: Path) -> tuple[Path | None, str]:
    """The page that compares the newest run with the one before, and why there is none."""
    analysed = [one.folder for one in done if one.folder is not None and one.came != "failed"]
    # Weights that lie in the folder twice have one run.
    last = list(dict.fromkeys(reversed(analysed)))
    if len(last) < 2:
        return None, ""
    newest, before = last[:2]
    page = out / "comparisons" / f"{newest.name} and {before.name}.html"
    if page.exists():
        return page, ""
    why = _carried_out(run_comparison, [before, newest], page)
    return (None, why) if why else (page, "")


def _publish(title: str, night: Night) -> None:
    show(
        partial(
            create_markdown_artifact,
            key=artifact_key("night"),
            markdown=night_markdown(title, night),
            description=f"{as_text(title)}: {counted(night.checkpoints)}",
        )
    )
    await_shown()
