"""Recognising a finished run that is started again, without a server, workers or a flow."""

from __future__ import annotations

from pathlib import Path

from ddp_tasks.networks.models import model_digest
from ddp_tasks.prepared_run import check_trained, opened, trained_model
from ddp_tasks.queries.summary import read_summary
from ddp_tasks.report.provenance import made_of_page
from ddp_tasks.store import trees, wholeness
from ddp_tasks.store.identity import Identity
from ddp_tasks.workers.kept import is_finished
from flows import garbage
from flows.outcome import Outcome
from flows.output_folder import RunFiles
from schemas.parameters import RunError, RunParameters

#: With more images, workers read the signals and compare the images faster than one process.
_MOST_IMAGES = 2000


def finished_before(run: RunParameters, out: Path) -> Outcome | None:
    """The results of a run that is finished in this folder; None if something is left to do."""
    try:
        return _finished(run, RunFiles.of(out))
    except (RunError, OSError):
        return None  # the run itself says what is wrong


def _finished(run: RunParameters, files: RunFiles) -> Outcome | None:
    if made_of_page(files.report) is None or not trees.exists(files.store):
        return None
    if run.model.training is not None:
        if not files.checkpoint.exists():
            return None
        check_trained(run, files.checkpoint)
        run = run.model_copy(update={"model": trained_model(run, files.checkpoint)})
    with garbage.paused():  # factories import libraries
        images, model, _ = opened(run)
    if len(images) > _MOST_IMAGES:
        return None
    identity = Identity.of_run(run, model_digest(model), images.digest())
    wholeness.check_continuable(files.store, identity)
    if not is_finished(run, files.store, files.report, files.hypergraphs):
        return None
    summary = read_summary(run, files.store)
    return Outcome(files.store, files.report, files.hypergraphs, summary)
