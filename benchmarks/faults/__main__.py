"""Run every script of this folder; the last lines of their logs go to benchmarks/RESULTS.md.

    python -m benchmarks.faults [NAME ...]

Each script carries out a tiny run with its fault and one without, and ends with status 0 only if
both gave the same cube, or the fault the error that the script names.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = HERE.parent / "RESULTS.md"
LAST_LINES = 4
COMMAND = (
    "`python -m benchmarks.faults`: each fault beside an undisturbed run; the logs' last lines."
)


def main() -> int:
    """Run the scripts asked for, or all; 1 if one failed."""
    asked = sys.argv[1:] or sorted(f.stem for f in HERE.glob("*.py") if f.stem[0] != "_")
    failed, told = 0, [f"## Faults, {datetime.date.today().isoformat()}", "", COMMAND]
    for name in asked:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            environment = {
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
                "PREFECT_HOME": f"{folder}/prefect",
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "TMPDIR": folder,
            }
            done = subprocess.run(
                [sys.executable, "-m", f"benchmarks.faults.{name}"],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        failed += done.returncode != 0
        lines = (done.stdout if done.returncode == 0 else done.stdout + done.stderr).splitlines()
        seconds = time.monotonic() - start
        said = f"{name}: {'passed' if done.returncode == 0 else 'FAILED'} in {seconds:.0f} s"
        shown = lines[-LAST_LINES:] if done.returncode == 0 else lines[-40:]
        indented = [f"    {line}".rstrip() for line in shown]
        print("\n".join(["", said, *indented]), flush=True)
        told += ["", said, "", *indented]
    if not failed:  # a traceback has no place among results
        with RESULTS.open("a") as results:
            results.write("\n" + "\n".join(told) + "\n")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
