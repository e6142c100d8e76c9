"""Looking at a network's accuracy before anything is computed from it, as a Prefect task."""

from __future__ import annotations

from pathlib import Path

from prefect import get_run_logger

from ddp_tasks.callables.called_code import ENDINGS
from ddp_tasks.prepared_run import prepare, reason_of
from ddp_tasks.signals.sampled_accuracy import sampled_answers
from ddp_tasks.significance.plausible_accuracy import measured_accuracy
from ddp_tasks.stages.stage import stage
from ddp_tasks.store import shards, trees
from schemas.parameters import RunParameters


def _is_known(_run: RunParameters, path: Path) -> str | None:
    return "" if trees.exists(path) and not shards.missing_shards(path) else None


@stage("accuracy", after=["train"], unless=_is_known)
def check_accuracy(run: RunParameters, _path: Path) -> None:
    """Warn if the network recognises a sample of the images no better than chance, or far worse
    than the run states. The run goes on.

    Where the cube is finished, the summary of the run tells it of all images instead.
    """
    prepared, log = prepare(run), get_run_logger()
    try:
        predicted, target = sampled_answers(
            prepared.model, prepared.images, prepared.layers.convention
        )
    except ENDINGS as error:  # the person's own code; the pass over all images says what is wrong
        log.info("accuracy is not looked at beforehand: %s", reason_of(error))
        return
    classes = len(prepared.images.target_classes)
    accuracy = measured_accuracy(predicted, target, classes, run.model.accuracy)
    if warning := accuracy.warning("a sample of the run"):
        log.warning("%s.", warning)
    else:
        log.info("accuracy on a sample of %d images: %.1f %%", accuracy.images, accuracy.percent)
