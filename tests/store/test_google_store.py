"""Stores and leases at an address of Google's Cloud Storage."""

import time

import gcs_server
import pytest

from ddp_tasks.store import groups, leases, run_lock, trees
from schemas import object_paths
from schemas.object_paths import path_of
from schemas.run_error import RunError

NOBODY = {"pid": 1, "host": "elsewhere", "since": "2026-01-01T00:00:00+00:00"}


@pytest.fixture
def address(tmp_path, monkeypatch):
    with gcs_server.served(tmp_path) as opened:
        monkeypatch.setattr(object_paths, "_opened", opened)
        yield path_of(f"{gcs_server.BUCKET}/of runs")


def test_a_folder_is_moved_to_a_name_that_is_free(address):
    for name in ("zarr.json", "a/b", "a/c d"):
        (address / "part" / name).write_bytes(name.encode())
    trees.move(address / "part", address / "store")
    assert sorted(trees.files_below(address)) == ["store/a/b", "store/a/c d", "store/zarr.json"]
    assert (address / "store/a/c d").read_bytes() == b"a/c d"


def test_objects_that_are_not_there_do_not_keep_others_from_being_removed(address):
    (address / "there").write_bytes(b"1")
    address.remove_all([address / "nothing", address / "there", address / "nor this"])
    assert not (address / "there").exists()
    (address / "nothing").unlink()


def test_a_lease_is_renewed_refused_and_taken_over(address):
    lock = address / run_lock.NAME
    with leases.held(lock, NOBODY, seconds=3.0):
        with pytest.raises(RunError, match="is in use by another run, process 1 on elsewhere"):
            leases.held(lock, NOBODY, seconds=3.0).__enter__()
        end = time.monotonic() + 4
        while time.monotonic() < end:
            leases.check_held()
            time.sleep(0.1)
    assert not lock.exists()
    lock.write_text('{"lease": 1.0}')
    time.sleep(2.1)  # the store's clock tells whole seconds
    with leases.held(lock, NOBODY, seconds=3.0):
        leases.check_held()


def test_a_group_of_a_store_is_written_and_read(address, finished):
    layers = groups.read(finished.store, "layers").load()
    groups.write(address / "store.zarr", "layers", layers)
    groups.write(address / "store.zarr", "layers", layers)
    assert groups.read(address / "store.zarr", "layers").load().identical(layers)
