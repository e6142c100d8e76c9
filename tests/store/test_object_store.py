"""Stores at an address in an object store, against a real S3 server on the loopback."""

import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import s3_server
import xarray as xr
from stored_cubes import stored
from strategies import Cube

from ddp_tasks.images import object_folders
from ddp_tasks.images.named_image_sets import picture_folder
from ddp_tasks.store import comparison, cube, groups, leases, run_lock, shard_marks, shards, trees
from flows.output_folder import made_folder, output_folder
from schemas import object_paths
from schemas.object_paths import ObjectPath, is_address, path_of
from schemas.run_error import RunError

NOBODY = {"pid": 1, "host": "elsewhere", "since": "2026-01-01T00:00:00+00:00"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with s3_server.served(tmp_path_factory.mktemp("s3")) as url, pytest.MonkeyPatch.context() as to:
        for name, value in {**s3_server.ENVIRONMENT, "AWS_ENDPOINT_URL": url}.items():
            to.setenv(name, value)
        yield url


@pytest.fixture
def address(server, tmp_path):
    return path_of(f"{s3_server.BUCKET}/{tmp_path.name}")


@pytest.fixture(scope="module")
def cubes(server, tmp_path_factory):
    """The same cube on a disk and at an address."""
    signals = np.random.default_rng(0).normal(size=(30, 2, 9)).astype(np.float32)
    signals[:, 1, 5:] = np.nan
    signals[3] = np.nan
    targets = np.arange(30) % 3
    targets[3] = -1
    of = Cube(signals=signals, targets=targets, ranks=(9, 5), target_classes=3, cuts=())
    places = tmp_path_factory.mktemp("disk") / "a.zarr", path_of(f"{s3_server.BUCKET}/cubes/a.zarr")
    for place in places:
        stored(place, of, 8)
    return places


def test_an_address_is_a_path_and_never_one_of_this_machine(tmp_path):
    address = path_of("s3://bucket/folder/store.zarr")
    assert str(address / "layers" / ".." / "x").startswith("s3://bucket/folder/store.zarr/layers")
    assert (address.bucket, address.key) == ("s3://bucket", "folder/store.zarr")
    assert str(address.parent) == "s3://bucket/folder"
    assert str(tmp_path / address) == str(address) == str(pickle.loads(pickle.dumps(address)))
    assert (address / "a/b").relative_to(address).as_posix() == "a/b"
    assert isinstance(path_of(address), ObjectPath)
    assert is_address("gs://bucket")
    assert not is_address("s3:/")
    assert not is_address("./s3://bucket")
    for use in (os.fspath, os.path.exists, open):
        with pytest.raises(TypeError, match="address of an object, not a file on this machine"):
            use(address)


def test_objects_are_read_listed_and_removed_like_files(address):
    file = address / "a b" / "é~new#1.txt"
    assert not address.exists()
    assert file.write_bytes(b"0123456789") == 10
    (address / "other").write_text("x")
    assert (file.read_bytes(), file.read_range(8, 5), file.read_last(3)) == (
        b"0123456789",
        b"89",
        b"789",
    )
    assert (file.is_file(), file.is_dir(), file.parent.is_dir()) == (True, False, True)
    assert sorted(one.name for one in address.iterdir()) == ["a b", "other"]
    assert list(address.rglob("*.txt")) == [file]
    first = file.stat()
    file.write_bytes(b"9876543210")
    assert (first.st_size, first.st_ino != file.stat().st_ino) == (10, True)
    trees.remove(address)
    assert not address.exists()
    with pytest.raises(FileNotFoundError):
        file.read_bytes()


def test_a_store_at_an_address_holds_the_same_bits(cubes):
    disk, address = cubes
    differences = list(comparison.compare_stores(disk, address, lambda _: None))
    assert [one for one in differences if one.of_results] == []
    for group in ("layers", "signals"):
        assert groups.fingerprint(disk, group) == groups.fingerprint(address, group)
        assert groups.damages(address, group) == []
    files = [sorted(trees.files_below(place)) for place in cubes]
    assert files[0] == files[1]
    for name in files[0]:
        if not name.startswith("zarr.json"):
            assert (disk / name).read_bytes() == (address / name).read_bytes()
    signals = [cube.layer_signals(place, "layer 1", "class 2") for place in cubes]
    assert signals[0].identical(signals[1])


def test_a_damaged_shard_at_an_address_is_noticed_and_written_again(cubes):
    _, address = cubes
    assert shards.missing_shards(address) == []
    file = address / "signals" / shard_marks.COMPLETE / "c" / "1"
    mark = file.read_bytes()
    file.write_bytes(bytes(12))
    assert [shard.index for shard in shards.missing_shards(address)] == [1]
    file.write_bytes(mark)
    data = next((address / "signals/signal/c/1").rglob("0"))
    whole = data.read_bytes()
    data.write_bytes(whole[:50] + b"?" + whole[51:])
    assert "not as it was written" in shards.damaged_signals(address, shards.shards(address)[1])
    data.write_bytes(whole)
    assert shards.damaged_signals(address, shards.shards(address)[1]) is None


class _KilledError(BaseException):
    """Ends what a test does as a killed process ends."""


def test_a_group_replaced_at_an_address_is_the_old_or_the_new_one(address, monkeypatch):
    """Whichever of its requests is the last one that the process makes."""
    left, group = 10**6, "decomposition/conv"
    for request in ("copy_to", "remove_all"):
        real = getattr(ObjectPath, request)

        def strike(self, *args, real=real):
            nonlocal left
            left -= 1
            if left < 0:
                raise _KilledError
            return real(self, *args)

        monkeypatch.setattr(ObjectPath, request, strike)
    seen = []
    for step in itertools.count():
        groups.write(address, group, _decomposition(1))
        left, killed = step, False
        try:
            groups.replace(address, group, _decomposition(2))
        except _KilledError:
            killed = True
        left = 10**6
        groups.recover(address, "decomposition")
        assert groups.damages(address, group) == []
        assert [one.name for one in (address / "decomposition").iterdir()] == ["conv", "zarr.json"]
        seen.append(int(groups.read(address, group)["S"][0]))
        if not killed:
            break
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (1, 2)
    assert len(seen) > 10


def _decomposition(value):
    return xr.Dataset(
        {
            "S": ("singular_vector", np.full(2, float(value))),
            "U": (("channel", "singular_vector"), np.eye(2)),
        }
    )


def test_a_second_run_at_an_address_is_refused_by_the_name_of_the_first(address):
    for _ in range(2):
        with run_lock.held(address):
            with pytest.raises(RunError, match=rf"in use by another run, process {os.getpid()} on"):
                run_lock.held(address).__enter__()
            leases.check_held()
        assert not (address / run_lock.NAME).exists()


def test_a_lease_is_kept_alive_and_taken_over_only_when_its_holder_is_gone(address):
    lock = address / run_lock.NAME
    with leases.held(lock, NOBODY, seconds=4.0):
        time.sleep(6)
        with pytest.raises(RunError, match="process 1 on elsewhere"):
            leases.held(lock, NOBODY, seconds=4.0).__enter__()
        leases.check_held()
    # Of a process that was killed.
    lock.write_text('{"pid": 2, "host": "gone", "since": "then", "lease": 3, "token": "x"}')
    with pytest.raises(RunError, match="process 2 on gone"):
        run_lock.held(address).__enter__()
    time.sleep(5)
    with run_lock.held(address):
        assert lock.read_text().count(f'"pid": {os.getpid()}') == 1


def test_a_run_whose_lease_is_taken_stops_and_leaves_the_other_s_lock(address):
    lock, theirs = address / run_lock.NAME, '{"pid": 7, "host": "b", "since": "now"}'
    with leases.held(lock, NOBODY, seconds=2.0):
        lock.write_text(theirs)
        with pytest.raises(leases.LeaseLostError, match="belongs to process 7 on b since now"):
            _check_until_lost()
    assert lock.read_text() == theirs
    leases.check_held()


def test_a_holder_that_cannot_renew_stops_before_others_may_begin(server, address, monkeypatch):
    with leases.held(address / run_lock.NAME, NOBODY, seconds=5.0):
        monkeypatch.setattr(ObjectPath, "write_if", _refused)
        with pytest.raises(leases.LeaseLostError, match=r"could not be renewed for .*no route"):
            _check_until_lost()


def test_a_renewal_whose_answer_is_lost_lets_nobody_believe_longer_than_others_wait(
    address, monkeypatch
):
    write, states = ObjectPath.write_if, ["stored, and its answer lost", "away", "back"]

    def lossy(path, data, tag):
        state = states.pop(0) if threading.current_thread().name == "lease" and states else ""
        if state == "away":
            raise OSError(5, "no route")
        written = write(path, data, tag)
        if state.startswith("stored"):
            raise OSError(5, "no answer")
        return written

    lock = address / run_lock.NAME
    with leases.held(lock, NOBODY, seconds=8.0):
        monkeypatch.setattr(ObjectPath, "write_if", lossy)
        while states:
            leases.check_held()
            time.sleep(0.05)
        time.sleep(1.0)
        # It was written anew when the network was back, and not found to be ours alone.
        assert time.time() - lock.read_tagged()[2] < 2.5
        leases.check_held()
    assert not lock.exists()


@pytest.mark.parametrize("ignored", ["If-Match", "If-None-Match"])
def test_a_store_that_ignores_a_condition_of_writing_is_refused(
    server, address, monkeypatch, ignored
):
    proxy = Heedless(server, ignored)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    object_paths.forget_buckets()
    try:
        with pytest.raises(RunError, match=rf"heeds no condition of writing \({ignored}\)"):
            leases.held(address / run_lock.NAME, NOBODY).__enter__()
        assert not (address / run_lock.NAME).exists()
    finally:
        object_paths.forget_buckets()
        proxy.close()


class Heedless(s3_server.FaultyProxy):
    """Passes on all requests without one condition."""

    def __init__(self, url, condition):
        super().__init__(url, share=0)
        self._condition = condition.lower().encode() + b":"

    def _passed_on(self, client, head, content):
        lines = head.split(b"\r\n")
        kept = [line for line in lines if not line.lower().startswith(self._condition)]
        super()._passed_on(client, b"\r\n".join(kept), content)


def test_a_run_that_is_told_to_stop_gives_its_lease_back(server, address):
    lock = address / run_lock.NAME
    program = (
        "import sys, time; from ddp_tasks.store import run_lock; from flows import stopping; "
        "from schemas.object_paths import path_of; stopping.watch()\n"
        "with run_lock.held(path_of(sys.argv[1])): time.sleep(120)"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program, str(address)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        deadline = time.monotonic() + 100
        while not lock.exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 128 + signal.SIGTERM
    finally:
        run.kill()
    assert not lock.exists()


def test_a_lock_that_is_gone_at_the_end_fails_nothing(address):
    with leases.held(address / run_lock.NAME, NOBODY, seconds=60.0):
        (address / run_lock.NAME).unlink()


def test_folders_that_a_console_made_are_no_objects(address):
    bucket = object_paths.opened_bucket(address)
    for name in ("p", "p/cat"):
        bucket.put(f"{address.key}/{name}/", b"")
    (address / "p/cat/1.png").write_bytes(b"1")
    root = address / "p"
    assert list(root.iterdir()) == [root / "cat"]
    assert list((root / "cat").iterdir()) == [root / "cat/1.png"]
    assert object_folders.folder_names(root) == ["cat"]
    found = object_folders.picture_objects(root, {"cat": 0}, (".png",))
    assert found == {f"{root}/cat/1.png": (0, 1)}


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("gcs://bucket/x", "s3://BUCKET/FOLDER and gs://BUCKET/FOLDER"),
        ("S3://bucket/x", "s3://BUCKET/FOLDER and gs://BUCKET/FOLDER"),
        ("file:///tmp/x", "s3://BUCKET/FOLDER and gs://BUCKET/FOLDER"),
        ("s3://user:secret@bucket/x", "holds no credentials"),
        ("s3://bucket/a/../b", "may not be"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused_and_no_folder_made(
    written, why, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for use in (made_folder, picture_folder):
        with pytest.raises(RunError, match=why) as refusal:
            use(written)
        assert "secret" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_a_lease_is_taken_and_renewed_over_a_network_that_fails(server, address, monkeypatch):
    proxy = s3_server.FaultyProxy(server, share=1 / 4, slow=0.2)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    object_paths.forget_buckets()
    try:
        for _ in range(8):
            with leases.held(address / run_lock.NAME, NOBODY, seconds=10.0):
                time.sleep(0.1)
                leases.check_held()
        with leases.held(address / run_lock.NAME, NOBODY, seconds=10.0):
            time.sleep(12)
            leases.check_held()
        assert not (address / run_lock.NAME).exists()
    finally:
        object_paths.forget_buckets()
        proxy.close()
    assert sum(proxy.struck.values()) > 5


def test_a_group_is_written_and_opened_again_with_few_requests(cubes, server):
    address = cubes[1]
    layers = groups.read(address, "layers").load()
    proxy = s3_server.FaultyProxy(server, share=0)
    try:
        with pytest.MonkeyPatch.context() as to:
            to.setenv("AWS_ENDPOINT_URL", proxy.url)
            object_paths.forget_buckets()
            assert groups.read(address, "layers").load().identical(layers)
            # Its metadata, and the names of its arrays; none of its arrays.
            assert proxy.requests < len(layers.variables)
            before = proxy.requests
            groups.write(address, "layers", layers)
            # Of each array, metadata and a chunk are sent, and read once for the mark.
            assert proxy.requests - before <= 4 * len(layers.variables) + 12
    finally:
        object_paths.forget_buckets()
        proxy.close()
    assert groups.read(address, "layers").load().identical(layers)


def test_an_object_is_read_anew_when_its_group_was_written_anew(cubes):
    address = cubes[1]
    layers = groups.read(address, "layers").load()
    try:
        groups.write(address, "layers", layers.assign(rank=layers["rank"] - 1))
        assert groups.read(address, "layers")["rank"].identical(layers["rank"] - 1)
    finally:
        groups.write(address, "layers", layers)
    assert groups.read(address, "layers").load().identical(layers)


def _check_until_lost(seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        leases.check_held()
        time.sleep(0.05)


def _refused(*_):
    raise OSError(5, "no route")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"bucket": "s3://no-such-bucket"}, "there is no such bucket"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "error sending request"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no credentials"),
    ],
)
def test_a_closed_address_is_refused_by_its_cause_within_seconds(server, monkeypatch, change, why):
    for name, value in change.items():
        if name != "bucket":
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    object_paths.forget_buckets()
    out = path_of(f"{change.get('bucket', s3_server.BUCKET)}/out")
    try:
        with pytest.raises(RunError, match=rf"out: {out}: .*{why}") as refusal:
            output_folder(out)
    finally:
        object_paths.forget_buckets()
    assert "secret" not in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
