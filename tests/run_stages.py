"""The stages of a run that make its cube, without those that follow."""

from prefect import flow

from ddp_tasks.stages import decomposition, extraction, signals
from ddp_tasks.store import groups

CLUSTER = {
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
    "threads_per_worker": 1,
    "preload": ["flows.quick_exit"],
}


@flow
def fill(run, path, scheduler):
    """Decompose the layers and have the workers write the cube."""
    decomposition.decompose_layers(run, path, scheduler)
    extraction.measure_extraction(run, path, scheduler)
    signals.fill_cube(run, path, scheduler)


def cube(path):
    """The signals of a store, shape (image, layer, singular vector)."""
    return groups.read(path, "signals")["signal"].to_numpy()
