"""The command ``ddp`` in a process of its own, beside the code that a tiny run names."""

import os
import subprocess
import sys
from pathlib import Path

from runs import HERE

DDP = Path(sys.executable).with_name("ddp")


def ddp_process(home, *arguments):
    """A call that succeeds, with Prefect's database in a folder; what it said."""
    made = subprocess.run(
        [DDP, *arguments],
        env={**os.environ, "PREFECT_HOME": str(home / "prefect")},
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    return made
