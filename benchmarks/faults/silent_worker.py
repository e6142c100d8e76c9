"""A worker falls silent in mid-shard: stopped (SIGSTOP), or cut off by a network that drops all.

The scheduler misses its heartbeats, gives the shard to the other worker, and the run ends with
the same cube. Then the silent one speaks again: what it had begun changes nothing.
"""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from pathlib import Path

from distributed import Client
from runs import tiny_run

from benchmarks.faults._proxy import Proxy
from benchmarks.faults._stages import fill, same_cube, start_scheduler, start_worker, waiting_run


def silence(folder: Path, undisturbed: Path, how: str) -> None:
    """One run in which the worker that waits in shard 2 falls silent."""
    flag, path = folder / f"flag-{how}", folder / f"{how}.zarr"
    scheduler, address = start_scheduler()
    proxy = Proxy(address)
    workers = [start_worker(proxy.address)]
    try:
        # The first worker is alone until it waits in shard 2; the second takes what it leaves.
        def strike() -> None:
            while not flag.with_suffix(".reached").exists():
                time.sleep(0.05)
            workers.append(start_worker(address))
            if how == "stopped":
                workers[0].send_signal(signal.SIGSTOP)
            elif how == "dropped":
                proxy.drop()
            else:
                proxy.close()
            print(f"{how}: the worker in shard 2 is silent", flush=True)
            flag.touch()

        striker = threading.Thread(target=strike)
        striker.start()
        start = time.monotonic()
        fill(waiting_run(flag), path, address)
        striker.join()
        print(f"{how}: the cube is whole after {time.monotonic() - start:.0f} s", flush=True)
        if how == "stopped":
            workers[0].send_signal(signal.SIGCONT)
        time.sleep(5)
        assert same_cube(path, undisturbed)
        with Client(address, set_as_default=False) as client:
            left = len(client.nthreads())
        print(
            f"{how}: same cube as undisturbed, also once the silent worker spoke again; "
            f"{left} workers left",
            flush=True,
        )
    finally:
        proxy.close()
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


def main() -> None:
    """Both ways of silence, against an undisturbed run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scheduler, address = start_scheduler()
        worker = start_worker(address)
        try:
            fill(tiny_run(), folder / "undisturbed.zarr", address)
        finally:
            for process in (worker, scheduler):
                process.kill()
                process.wait()
        for how in ("stopped", "dropped", "closed"):
            silence(folder, folder / "undisturbed.zarr", how)


if __name__ == "__main__":
    main()
