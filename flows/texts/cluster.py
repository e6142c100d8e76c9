"""Texts of the terminal about a cluster that was tried."""

from __future__ import annotations

from collections.abc import Sequence

from ddp_tasks.stages.trial import REPEATS, Trial, TriedWorker
from flows.texts.columns import columns
from schemas.parameters import RunParameters


def lines(name: str, run: RunParameters, trial: Trial, maximum: int | None) -> str:
    """What a cluster is, and what a run would cost there.

    Parameters
    ----------
    name
        of the cluster, as the person gave it.
    maximum
        workers that it may grow to; None if it does not grow.
    """
    workers = trial.workers
    versions = sorted({f"Python {w.facts.python}, torch {w.facts.torch}" for w in workers})
    shards = f"{trial.tried:,} of {trial.shards:,} shards of {run.name}"
    return "\n".join(
        [
            f"{name}: {_counted(len(workers), 'worker')} of {trial.scheduler}; "
            f"{', beside '.join(versions)}",
            "",
            *columns(
                ("host", "workers", "threads", "memory", "device", "images/s of each", "held"),
                _rows(workers),
            ),
            "",
            f"Tried on {shards}, {trial.images_per_shard:,} images each, {REPEATS} times, after a "
            f"first time that opened model and images ({trial.opening_seconds:.2g} s).",
            f"What {run.name} would cost there:",
            *columns(("", ""), _costs(trial, maximum))[1:],
            *_beside(run),
        ]
    )


def _rows(workers: Sequence[TriedWorker]) -> list[tuple[object, ...]]:
    """Workers that are the same on one host share a row."""
    alike: dict[tuple[str, int, int | None, str], list[TriedWorker]] = {}
    for one in workers:
        kind = (one.facts.host, one.worker.threads, one.worker.memory, one.facts.device)
        alike.setdefault(kind, []).append(one)
    rows: list[tuple[object, ...]] = []
    for (host, threads, memory, device), some in alike.items():
        limit = "no limit" if memory is None else _size(memory)
        rates = _range([rate for one in some for rate in one.rates]) or "no shard left"
        rows.append((host, len(some), threads, limit, device, rates, _held(some)))
    return rows


def _held(workers: Sequence[TriedWorker]) -> str:
    main, device = (max(getattr(w, kind) for w in workers) for kind in ("memory", "device_memory"))
    if not main:
        return ""
    return _size(main) + (f", {_size(device)} of the GPU" if device else "")


def _costs(trial: Trial, maximum: int | None) -> list[tuple[str, str]]:
    size = f"{trial.images:,} in {_counted(trial.shards, 'shard')}"
    signals = f"{_range(trial.signals_seconds())} s on {_counted(len(trial.workers), 'worker')}"
    if maximum is not None and maximum > len(trial.workers):
        signals += f", {_range(trial.signals_seconds(maximum))} s on {maximum:,} like these"
    return [
        ("images", size),
        ("decomposition", f"{trial.decomposition_seconds:.2g} s, all of it was done"),
        ("signals", signals),
        (
            "on disk",
            f"{_size(trial.signals_bytes)} of signals, {_size(trial.decomposition_bytes)} of "
            "decomposition",
        ),
    ]


def _beside(run: RunParameters) -> list[str]:
    passes = ["training"] if run.model.training else []
    passes += ["the second pass of spatial_statistics"] if run.spatial_statistics else []
    return [
        f"{', '.join([*passes, 'significance, hypergraphs, pictures'])} and report come on top."
    ]


def _range(values: Sequence[float]) -> str:
    low, high = (f"{value:,.3g}" for value in (min(values), max(values))) if values else ("", "")
    return low if low == high else f"{low} to {high}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + "s" * (count != 1)


def _size(count: int) -> str:
    """Bytes in a unit that leaves at most four digits before the point."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:,.3g} TiB"
