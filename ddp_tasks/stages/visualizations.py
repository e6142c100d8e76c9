"""Optimised images of a run's singular vectors, as Prefect tasks (section 6)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from prefect import get_run_logger

from ddp_tasks.prepared_run import Prepared, prepare
from ddp_tasks.queries.visualization_targets import Wanted, most_telling, wanted_by_run
from ddp_tasks.stages.bounded_futures import on_each_worker
from ddp_tasks.stages.stage import over_workers, stage
from ddp_tasks.store import groups
from ddp_tasks.workers import kept, stored_visualizations, visualizations
from ddp_tasks.workers.stored_run import StoredRun
from ddp_tasks.workers.stored_visualizations import Batch
from ddp_tasks.workers.visualizations import Made
from schemas.parameters import RunError, RunParameters
from schemas.visualization_parameters import VisualizationParameters

#: Pictures of a batch that is not made smaller so that all workers have one: a processor's most.
_LEAST_PICTURES = 16

#: Targets of a batch that must be made within some seconds.
_TARGETS_WITHIN_A_BUDGET = 2


def _is_visualized(run: RunParameters, path: Path, _scheduler: str) -> str | None:
    if run.visualizations.targets == "none":
        return ""
    return "optimised images: kept from before" if kept.is_visualized(run, path) else None


@stage("visualizations", after=["hypergraphs", "stability", "controls"], unless=_is_visualized)
def visualize_run(run: RunParameters, path: Path, scheduler: str) -> None:
    """Have the Dask workers make the optimised images that a run asks for, within its budget.

    The vectors of the run's statements come first, then the most discriminating. Images that are
    stored already are kept.
    """
    log, options = get_run_logger(), run.visualizations
    wanted: Mapping[str, Sequence[Wanted]] = wanted_by_run(run, path)
    if refusal := visualizations.refusal(prepare(run, labelled=False)):
        log.info("no optimised images: %s", refusal)
        wanted = {}
    _make(StoredRun.of(path, run), scheduler, wanted, options, _deadline(options))
    counts = stored_visualizations.counts(path, kept.layer_names(path), wanted, options)
    groups.write(path, "visualized", counts, kept.of_visualized(run, path))


@stage("visualizations")
def visualize(
    run: RunParameters,
    path: Path,
    wanted: Mapping[str, Sequence[Wanted]],
    options: VisualizationParameters,
    scheduler: str,
) -> None:
    """Have the Dask workers make the optimised images that a person asks for.

    All of them, unless the options have a budget of seconds.
    """
    # Zarr would read what is gathered at the root with every array that is written.
    groups.unseal(path)
    _make(StoredRun.of(path, run), scheduler, wanted, options, _deadline(options))


def _deadline(options: VisualizationParameters) -> float | None:
    return None if options.seconds is None else time.time() + options.seconds


def check_pictures(prepared: Prepared) -> None:
    """Refuse images that are no pictures, which nothing can be optimised for.

    Raises
    ------
    RunError
        If they are none; it gives their shape.
    """
    if refusal := visualizations.refusal(prepared):
        raise RunError(refusal)


def _make(
    stored: StoredRun,
    scheduler: str,
    wanted: Mapping[str, Sequence[Wanted]],
    options: VisualizationParameters,
    deadline: float | None,
) -> None:
    log, path, patience = get_run_logger(), stored.path, stored.parameters.shards.patience
    groups.recover(path, stored_visualizations.GROUP)
    for name, why in stored_visualizations.remove_damaged(path):
        log.warning("the optimised images of %s are removed: %s", name, why)
    sizes = on_each_worker(scheduler, patience, partial(visualizations.batch_size, stored))
    # Small batches waste less where time runs out, and end sooner.
    most = None if deadline is None else _TARGETS_WITHIN_A_BUDGET
    every = _batches(wanted, options, min(sizes), most, len(sizes))
    missing = stored_visualizations.without_stored(path, every, options)
    if not missing:
        log.info("optimised images: all %d are stored", sum(map(len, every)))
    made, late, total = 0, list[Made](), sum(map(len, missing))
    make = partial(visualizations.visualize, stored, options, deadline)
    with over_workers(
        scheduler,
        patience,
        key="visualizations",
        description="optimised images",
        total=total,
        size=len,
        whole_gpu=True,
    ) as mapped:
        for batch, outcome in mapped(make, _until(missing, deadline)):
            made += outcome.images
            if outcome.failed:
                log.warning("%s: %s", batch, "; ".join(outcome.failed))
            if outcome.needed is not None:
                late.append(outcome)
    layers = stored_visualizations.layers_with_parts(path, kept.layer_names(path))
    with over_workers(
        scheduler,
        patience,
        key="pictures-of-layers",
        description="gathering the optimised images of layers",
        total=len(layers),
    ) as mapped:
        for _ in mapped(partial(stored_visualizations.gather, path), layers):
            pass
    stored_visualizations.remove_parts(path)
    if made < total and deadline is not None:
        slow = max((outcome.needed for outcome in late if outcome.needed), default=None)
        one = "" if slow is None else f"; one batch takes about {slow:.0f} s here"
        log.warning(
            "%d of %d optimised images were made in %g s%s: a greater visualizations.seconds or "
            "ddp visualize makes the others",
            made,
            total,
            options.seconds,
            one,
        )


def _until(batches: Sequence[Batch], deadline: float | None) -> Iterator[Batch]:
    """Batches as long as there is time."""
    for batch in batches:
        if deadline is not None and time.time() >= deadline:
            return
        yield batch


def _batches(
    wanted: Mapping[str, Sequence[Wanted]],
    options: VisualizationParameters,
    size: int,
    most_targets: int | None,
    workers: int,
) -> list[Batch]:
    """Batches of one layer each, those with the most discriminating targets first.

    What a batch holds depends on what is asked for alone, not on what is stored already.
    """
    together = options.diverse * len(options.objectives)
    each = max(1, size // (options.seeds * together))
    each = each if most_targets is None else min(each, most_targets)
    most = None if options.images is None else max(1, options.images // together)
    by_layer = most_telling(wanted, most)
    # One GPU would take all targets of some layers at once, while the others have nothing to do.
    share = -(-sum(map(len, by_layer.values())) // workers)
    each = min(each, max(share, 1, _LEAST_PICTURES // (options.seeds * together)))
    ranked: list[tuple[tuple[int, float], Batch]] = []
    for layer, of_layer in by_layer.items():
        for start in range(0, len(of_layer), each):
            some = of_layer[start : start + each]
            targets = tuple(target for one in some for target in one.targets(options))
            ranked.append(((some[0].rank, -some[0].eta_squared), Batch(layer, targets)))
    return [batch for _, batch in sorted(ranked, key=lambda pair: pair[0])]
