"""A disk that is really full: a file system of 1 MiB in memory, filled up in mid-run.

Needs a Linux that lets a person mount tmpfs in a name space of their own (``unshare``), or root.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from runs import tiny_run

from benchmarks.faults._stages import fill, same_cube, start_scheduler, start_worker, waiting_run
from ddp_tasks.store import shards
from schemas.parameters import RunError


def inside(folder: Path) -> None:
    """The run on the small file system, full and with room again."""
    small, flag, path = folder / "small", folder / "flag", folder / "small/store.zarr"
    scheduler, address = start_scheduler()
    worker = start_worker(address)
    try:
        fill(tiny_run(), folder / "undisturbed.zarr", address)

        def strike() -> None:
            while not flag.with_suffix(".reached").exists():
                time.sleep(0.05)
            with (small / "ballast").open("wb", buffering=0) as file:
                try:
                    while file.write(bytes(4096)):
                        pass
                except OSError as error:
                    print(f"ballast: {error}", flush=True)
            flag.touch()

        striker = threading.Thread(target=strike)
        striker.start()
        try:
            fill(waiting_run(flag), path, address)
        except RunError as error:
            said = str(error)
            print(said, flush=True)
            assert "shard 2 (images 16 to 23)" in said or "No space left" in said
            assert "No space left on device" in said
        else:
            raise AssertionError("a full disk went by unnoticed")
        striker.join()
        print("missing:", [s.index for s in shards.missing_shards(path)], flush=True)
        (small / "ballast").unlink()
        fill(waiting_run(flag), path, address)
        assert same_cube(path, folder / "undisturbed.zarr")
        print("with room again: same cube as undisturbed", flush=True)
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


def main() -> None:
    """Enter a name space, mount, and run."""
    if len(sys.argv) > 1:
        inside(Path(sys.argv[1]))
        return
    unshare, mount = shutil.which("unshare"), shutil.which("mount")
    if unshare is None or mount is None:
        raise SystemExit("needs unshare and mount (util-linux)")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "small").mkdir()
        command = (
            f"{mount} -t tmpfs -o size=1m tmpfs {folder}/small && "
            f"exec {sys.executable} -m benchmarks.faults.full_disk {folder}"
        )
        status = os.spawnl(os.P_WAIT, unshare, unshare, "-rm", "sh", "-c", command)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
