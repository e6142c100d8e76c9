"""A run over several hosts: network namespaces, each with an address and a cable of its own.

The commands are those of docs/howto/hosts.md.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import pytest
from hosts_run import HERE
from run_stages import cube
from runs import HERE as RUNS

from ddp_tasks.queries.progress import shards_written

pytestmark = [pytest.mark.deployment, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/howto/hosts.md").read_text()
NETWORK = "10.77.0"
SHARDS = 16
_COUNTED = cycle("abc")


def commands(words):
    """The shell commands of the page's block that has these words."""
    (block,) = [b for b in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if words in b]
    return block.replace("10.0.0.", f"{NETWORK}.")


class Hosts:
    """Network namespaces that a bridge joins, and processes on them."""

    def __init__(self, folder, prefect_home):
        self.folder, self.home, self.names, self.started = folder, prefect_home, {}, []
        # Devices of a namespace that is gone may still be there for a moment.
        self.bridge = f"ddp{os.getpid() % 10**6}{next(_COUNTED)}"

    def ip(self, *words):
        subprocess.run(["ip", *map(str, words)], check=True, capture_output=True)

    def open(self, numbers):
        self.ip("link", "add", self.bridge, "type", "bridge")
        self.ip("link", "set", self.bridge, "up")
        for number in numbers:
            name, cable = f"{self.bridge}-{number}", self.cable(number)
            self.ip("netns", "add", name)
            self.names[number] = name
            self.ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
            self.ip("link", "set", cable, "master", self.bridge, "up")
            self.ip("-n", name, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                self.ip("-n", name, "link", "set", device, "up")

    def cable(self, number):
        return f"{self.bridge}v{number}"

    def cut(self, number):
        self.ip("link", "set", self.cable(number), "down")

    def mend(self, number):
        self.ip("link", "set", self.cable(number), "up")

    def start(self, number, command, **environment):
        """Start a shell's command on a host; its output is in a file of the folder."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with (self.folder / f"host{number}.log").open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.names[number], "sh", "-ec", command],
                cwd=self.folder,
                env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **environment},
                stdout=log,
                stderr=log,
            )
        self.started.append(process)
        return process

    def lose(self, number):
        """End all processes of a host at once."""
        listed = subprocess.run(
            ["ip", "netns", "pids", self.names[number]], check=True, capture_output=True, text=True
        )
        for pid in listed.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def close(self):
        for number, name in self.names.items():
            self.lose(number)
            self.ip("netns", "del", name)
        for process in self.started:
            process.wait(timeout=60)
        with suppress(subprocess.CalledProcessError):
            self.ip("link", "del", self.bridge)


@pytest.fixture
def hosts(tmp_path, tmp_path_factory):
    """A scheduler's host, two of workers, and the run's own."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("openssl") is None:
        pytest.skip("needs root, ip and openssl")
    probe = f"ddp-probe-{os.getpid()}"
    tried = subprocess.run(
        ["ip", "netns", "add", probe], check=False, capture_output=True, text=True
    )
    if tried.returncode:
        pytest.skip(f"no network namespaces here: {tried.stderr.strip()}")
    subprocess.run(["ip", "netns", "del", probe], check=True)
    # Prefect's database is made once.
    home = tmp_path_factory.getbasetemp() / "prefect-of-hosts"
    made = Hosts(tmp_path, home)
    try:
        made.open([1, 2, 3, 4])
        yield made
    finally:
        made.close()


def await_that(true, process, seconds=600):
    """Wait for a condition, as long as a process runs."""
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, f"it ended with status {process.returncode}"
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.1)


def run_file(folder):
    """A run of 16 shards of 5 images."""
    (folder / "run.yaml").write_text(
        f"model: {{factory: {RUNS}:TinyNetwork}}\n"
        f"images: {{factory: {HERE}:Watched, kwargs: {{images: {5 * SHARDS}}}}}\n"
        "significance: {quantile: 0.8, percentage: 60}\n"
        "shards: {images: 5, batch_size: 5}\n"
        "visualizations: {targets: none}\n"
        "cluster: hosts.yaml\n"
    )
    (block,) = re.findall(r"```yaml\n(address.*?)```", PAGE, re.DOTALL)
    (folder / "hosts.yaml").write_text(block.replace("10.0.0.", f"{NETWORK}."))


def worker(hosts, number):
    command = commands("dask worker").replace(f"--host {NETWORK}.2", f"--host {NETWORK}.{number}")
    mark = hosts.folder / f"read-on-{number}"
    return hosts.start(number, command, DDP_TEST_MARK=str(mark))


def ddp(hosts, number, *words):
    return hosts.start(number, f"exec ddp {' '.join(words)}", PREFECT_HOME=str(hosts.home))


def test_a_run_over_hosts_that_come_and_go_gives_the_cube_of_one_host(hosts, tmp_path):
    subprocess.run(
        ["sh", "-ec", commands("openssl")], cwd=tmp_path, check=True, capture_output=True
    )
    run_file(tmp_path)
    hosts.start(1, commands("dask scheduler"))
    for number in (2, 3):
        worker(hosts, number)
    store = tmp_path / "several" / "store.zarr"
    run = ddp(hosts, 4, "run run.yaml --out several")

    def written(shards):
        return lambda: (shards_written(store) or (0, 0))[0] >= shards

    try:
        await_that(written(1), run)
        hosts.cut(2)
        await_that(written(4), run)
        hosts.mend(2)
        await_that(written(6), run)
        (tmp_path / "hold").touch()
        hosts.lose(3)
        worker(hosts, 4)
        await_that(lambda: "Registered to" in (tmp_path / "host4.log").read_text(), run)
        (tmp_path / "hold").unlink()
        run.wait(timeout=600)
    finally:
        for log in sorted(tmp_path.glob("host*.log")):
            sys.stdout.write(f"--- {log.name}\n{log.read_text()[-4000:]}\n")  # if it fails
    assert run.returncode == 0
    assert {file.name for file in tmp_path.glob("read-on-*")} == {
        f"read-on-{number}" for number in (2, 3, 4)
    }
    assert not list((tmp_path / "several").glob(".agreement*"))
    one = ddp(hosts, 4, "run run.yaml --out one --set cluster=local")
    assert one.wait(timeout=600) == 0
    assert cube(store).tobytes() == cube(tmp_path / "one" / "store.zarr").tobytes()
    assert ddp(hosts, 4, "check several one").wait(timeout=600) == 0


def test_a_host_that_does_not_see_the_folder_or_has_no_certificate_is_refused(hosts, tmp_path):
    subprocess.run(
        ["sh", "-ec", commands("openssl")], cwd=tmp_path, check=True, capture_output=True
    )
    run_file(tmp_path)
    shared = tmp_path / "shared"
    shared.mkdir()
    hosts.start(1, commands("dask scheduler"))
    # A host has mounts of its own: this one has an empty folder in place of the shared one.
    command = commands("dask worker")
    hosts.start(2, f"mount -t tmpfs none {shared}; {command}")
    await_that(lambda: "Registered to" in (tmp_path / "host2.log").read_text(), hosts.started[-1])
    refused = ddp(hosts, 4, "run run.yaml --out shared/out")
    assert refused.wait(timeout=600) == 2
    said = (tmp_path / "host4.log").read_text().strip().splitlines()
    start = next(i for i, line in enumerate(said) if "may not take part in the run" in line)
    assert f"worker tls://{NETWORK}.2:" in said[start]
    assert "is not the same there" in said[start + 1]
    assert not (shared / "out/store.zarr").exists()

    (tmp_path / "hosts.yaml").write_text(f"address: tcp://{NETWORK}.1:8786\n")
    refused = ddp(hosts, 4, "run run.yaml --out plain")
    assert refused.wait(timeout=600) == 2
    assert "no Dask scheduler answers" in (tmp_path / "host4.log").read_text()
