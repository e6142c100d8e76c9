"""The signals stage of a run as a Prefect task: shards on Dask workers, few at a time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from uuid import uuid4

from prefect import get_run_logger

from ddp_tasks.images.image_sets import open_images
from ddp_tasks.images.unreadable import Unreadable
from ddp_tasks.queries.recorded_images import replaced_sentence
from ddp_tasks.stages.bounded_futures import ClusterLostError
from ddp_tasks.stages.shares import Shares
from ddp_tasks.stages.stage import over_workers, stage
from ddp_tasks.store import groups, shards, taken_back
from ddp_tasks.workers.replaced_images import replaced_images
from ddp_tasks.workers.signals import fill_shard
from ddp_tasks.workers.stored_run import StoredRun
from schemas.parameters import RunError, RunParameters

#: One failed shard does not stop the others; this many stop the run.
_MOST_FAILED_SHARDS = 3


@stage("signals", after=["decompose"])
def fill_cube(run: RunParameters, path: Path, scheduler: str) -> None:
    """Have the Dask workers write the shards of the cube that are not written yet.

    Raises
    ------
    RunError
        If a shard fails or the cluster is lost; the message names the shard and the cause, and
        says how many shards are written. If more images cannot be read than the run allows; a
        run started again tries those images once more. If images were replaced since their shards
        were written; the message names them.
    """
    log = get_run_logger()
    if left := shards.clear_partial_files(path):
        log.info("%d half-written files of a run that was killed are removed", left)
    _take_back_damaged(run, path, scheduler)
    unreadable = _still_unreadable(run, path)
    _refuse_replaced(run, path, scheduler)
    missing, every = shards.missing_shards(path), len(shards.shards(path))
    log.info("%d of %d shards to write", len(missing), every)
    if not missing:
        return
    fill = partial(fill_shard, StoredRun.of(path, run))
    written, failed, shares = every - len(missing), list[RunError](), Shares()
    try:
        with over_workers(
            scheduler,
            run.shards.patience,
            key="signals",
            description="signals of images",
            total=sum(map(len, missing)),
            size=len,
        ) as mapped:
            for outcome in mapped.outcomes(fill, missing):
                if outcome.result is not None:
                    written += 1
                    unreadable.add(outcome.result.unreadable)
                    shares.add(outcome.result)
                    continue
                assert outcome.error is not None
                failed.append(_named(outcome.item, outcome.error))
                log.error("%s", failed[-1])
                if len(failed) >= _MOST_FAILED_SHARDS:
                    break
    except ClusterLostError as lost:
        failed.insert(0, lost)
    for level, sentence in shares.sentences(decoding=run.extraction.decoding):
        log.log(level, "%s", sentence)
    if not failed and (lacking := shards.missing_shards(path)):
        failed = [RunError(f"{lacking[0]} is not in {path}, although its worker wrote it")]
    if failed:
        error = RunError(
            f"{failed[0]}\n{written} of {every} shards are written; started again, the run "
            "writes the rest"
        )
        for other in failed[1:]:
            error.add_note(str(other))
        raise error from failed[0]
    if unreadable:
        log.warning("%s", unreadable.sentence())
    log.info("cube complete")


def _take_back_damaged(run: RunParameters, path: Path, scheduler: str) -> None:
    """Read all shards written before, and mark damaged ones to be written again."""
    log = get_run_logger()
    missing = {shard.index for shard in shards.missing_shards(path)}
    damaged = [
        s for s in shards.shards(path) if s.index in missing and taken_back.was_written(path, s)
    ]
    written = [shard for shard in shards.shards(path) if shard.index not in missing]
    if written:
        look = partial(shards.damaged_signals, path)
        with over_workers(
            scheduler,
            run.shards.patience,
            key="damages",
            description="reading shards written before",
            total=len(written),
        ) as mapped:
            for shard, why in mapped(look, written):
                if why:
                    log.warning("%s", why)
                    damaged.append(shard)
    if damaged:
        taken_back.forget(path, damaged)
        log.warning(
            "%d damaged shards and the results that depend on them are written again", len(damaged)
        )


def _still_unreadable(run: RunParameters, path: Path) -> Unreadable:
    """Images of shards written before that cannot be read now either.

    Shards with an image that can be read now are marked to be written again.
    """
    before = taken_back.unreadable_images(path)
    unreadable = Unreadable(run.images.unreadable, shards.shards(path)[-1].stop)
    if not before:
        return unreadable
    images = open_images(run.images, labelled=False).as_stored(groups.read(path, "signals"))
    now = {
        image: images.read(at, at + 1)[0] for at, image in enumerate(images.ids) if image in before
    }
    still = {image: reason for image, reason in now.items() if isinstance(reason, str)}
    if repaired := before.keys() - still.keys():
        taken_back.take_back(path, repaired)
        log = get_run_logger()
        log.info("%d images can be read now; their shards are written again", len(repaired))
    unreadable.add(still)
    return unreadable


def _refuse_replaced(run: RunParameters, path: Path, scheduler: str) -> None:
    """Compare the images of shards written before with their records."""
    missing = {shard.index for shard in shards.missing_shards(path)}
    written = [shard for shard in shards.shards(path) if shard.index not in missing]
    if not written:
        return
    replaced: dict[str, str] = {}
    compare = partial(replaced_images, StoredRun.of(path, run), uuid4().hex)
    with over_workers(
        scheduler,
        run.shards.patience,
        key="images",
        description="comparing images of shards written before",
        total=len(written),
    ) as mapped:
        for _, images in mapped(compare, written):
            replaced |= images
    if replaced:
        raise RunError(f"{path} was made from other images: {replaced_sentence(replaced)}")


def _named(shard: shards.Shard, error: BaseException) -> RunError:
    """The error of a shard, naming the shard."""
    return error if isinstance(error, RunError) else RunError(f"{shard}: {error}")
