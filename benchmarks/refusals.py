"""Whatever a person hands over ends in one message or in a finished run.

    python -m benchmarks.refusals [--mutations N] [--kinds WORD ...] [--seed N]

Each run file and argument list of ``refusal_cases`` goes through the command itself, in a process
forked from one that has imported everything. What the command accepts is carried out to its end:
its flow and all stages in their order, on a Dask cluster in the same process and without a Prefect
server. Counted are the cases that ended in one message of at most three lines, those that ran, and
what must not be: a traceback or a longer message, more than 10 s before work starts, and a run that
is accepted and then fails.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import logging
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_TESTS = Path(__file__).parents[1] / "tests"

SECONDS_TO_REFUSE = 10.0
_SECONDS_TO_RUN = 240.0
_MOST_BYTES = 12 * 2**30

#: Lines that a refusal may have, and lines that say before it what is being opened.
_MOST_LINES, _MOST_BEFORE = 3, 2

_ACCEPTED = "accepted"

#: Modules that commands import when they are called.
_IMPORTED = (
    *("flows.ablation", "flows.capacity", "flows.pipeline", "flows.texts.ablation"),
    *("flows.texts.run", "flows.texts.significance", "ddp_tasks.hypergraphs.hif"),
    "ddp_tasks.report.steps_page",
)

#: How a case may end. Some faults only work finds; the last three must not be.
ENDINGS = ("refused", "ran", "refused late", "traceback", "hang", "wrong accept")


@dataclass(frozen=True)
class Case:
    """What one command is handed."""

    kind: str
    arguments: tuple[str, ...]
    files: Mapping[str, bytes]
    """what lies in its working folder."""
    before: Callable[[Path], object] = lambda _: None
    """further preparation of that folder."""
    expected: str | None = None
    """how it is to end, where only one is right; what only work finds out is refused late."""

    def prepare(self, folder: Path) -> None:
        """Lay out its working folder."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        self.before(folder)


@dataclass(frozen=True)
class Ended:
    """What became of a case."""

    case: Case
    ending: str
    said: str
    seconds: float
    """until it was refused, or accepted."""

    @property
    def right(self) -> bool:
        """Whether a person was served well."""
        if self.case.expected is not None:
            return self.ending == self.case.expected
        return self.ending in ("refused", "ran")


def tried(case: Case, room: Path, seconds: float = SECONDS_TO_REFUSE) -> Ended:
    """Hand a case to the command, in a folder of its own and a process of its own."""
    folder = room / "here"
    folder.mkdir()
    case.prepare(folder)
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.monotonic()
    if not (child := os.fork()):
        _in_child(case, room, folder)
    code = _awaited(child, room / _ACCEPTED, began, seconds)
    ended = time.monotonic()
    accepted = room / _ACCEPTED
    if accepted.exists():
        ended = began + float(accepted.read_text())
    said = "".join((room / name).read_text("utf-8", "surrogateescape") for name in ("out", "err"))
    return Ended(case, ending(code, said, accepted.exists()), said, ended - began)


def _awaited(child: int, accepted: Path, began: float, seconds: float) -> int | None:
    """The status of a process; None if it had to be ended."""
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - began > (_SECONDS_TO_RUN if accepted.exists() else seconds):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.02)


def ending(code: int | None, said: str, accepted: bool) -> str:
    """How a case ended, by the command's status, what it said, and whether work had started."""
    if code is None:
        return "hang"
    if "Traceback (most recent call last)" in said:
        return "traceback"
    if code == 0 or (code == 1 and accepted):
        return "ran"  # a list of which some models fail ends with 1
    if code not in (1, 2) or (code == 2 and not _one_message(said, accepted)):
        return "wrong accept" if accepted else "traceback"
    return "refused late" if accepted else "refused"


def _one_message(said: str, accepted: bool) -> bool:
    """Whether what was said is one refusal, and plain text; work has a log before it."""
    lines = said.strip().split("\n")
    begun = [place for place, line in enumerate(lines) if line.startswith("ddp: ")]
    if not begun and "Usage: " in said and len(lines) > _MOST_LINES:
        return True  # the help, for whoever asks for nothing
    odd = re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", said)
    if len(begun) != 1 or odd:
        return False
    return (accepted or begun[0] <= _MOST_BEFORE) and len(lines) - begun[0] <= _MOST_LINES


def _in_child(case: Case, room: Path, folder: Path) -> None:
    """Carry out the command; this process ends here."""
    code = 70
    try:
        for name, descriptor in (("out", 1), ("err", 2)):
            os.dup2(os.open(room / name, os.O_WRONLY | os.O_CREAT), descriptor)
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))
        began = time.monotonic()

        def accepted() -> None:
            (room / _ACCEPTED).write_text(str(time.monotonic() - began))

        with in_one_process(accepted):
            code = command(case.arguments)
    except BaseException:  # noqa: BLE001 - a process of its own ends here, and says how
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def command(arguments: Sequence[str]) -> int:
    """The status that the command ends with."""
    from flows import cli

    sys.argv = ["ddp", *arguments]
    try:
        cli.main()
    except SystemExit as ended:
        return 0 if ended.code is None else int(ended.code)
    return 0


@contextmanager
def in_one_process(accepted: Callable[[], object]) -> Iterator[None]:
    """Within it, the command carries out its flows by itself.

    Parameters
    ----------
    accepted
        called when a flow begins: what was asked for was not refused.
    """
    from prefect import Task
    from prefect.logging import disable_run_logger

    from ddp_tasks.stages import artifacts as artifact_tasks
    from ddp_tasks.stages import stage
    from flows import artifacts, capacity, cli, pipeline, prefect_server, terminal

    def called(
        task: Any, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        if not return_state:
            return task.fn(*args, **kwargs)
        try:
            task.fn(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - as Prefect keeps it
            return SimpleNamespace(is_completed=lambda: False, error=error)
        return SimpleNamespace(is_completed=lambda: True)

    def carry_out(flow: Any, *args: Any) -> Any:
        accepted()
        terminal.quiet_errors()
        return flow.fn(*args)

    replaced: list[tuple[Any, str, Any]] = [
        (Task, "__call__", called),
        (capacity, "get_state_exception", lambda state: state.error),
        (stage, "get_state_exception", lambda state: state.error),
        (stage, "show_failure", lambda *_, **__: None),
        (prefect_server, "served", lambda: nullcontext(SimpleNamespace(used=nullcontext))),
        (prefect_server, "carry_out", carry_out),
        (prefect_server, "cancelled_when_stopped", nullcontext),
        (pipeline, "scheduler", _scheduler(pipeline.scheduler)),
        (capacity, "scheduler", _scheduler(capacity.scheduler)),
        (artifact_tasks.ProgressBar, "show", lambda *_: None),
        (artifacts, "show", lambda send: None),
        (artifacts, "await_shown", lambda: None),
        (cli.stopping, "watch", lambda: None),
        (cli, "quick_exit", lambda: None),
        (cli, "leave", sys.exit),
    ]
    before = [getattr(owner, name) for owner, name, _ in replaced]
    for owner, name, stand_in in replaced:
        setattr(owner, name, stand_in)
    try:
        with disable_run_logger():
            yield
    finally:
        for (owner, name, _), own in zip(replaced, before, strict=True):
            setattr(owner, name, own)


def _scheduler(own: Callable[[str], Any]) -> Callable[[str], Any]:
    """Workers of this machine in this process, others as they are."""

    @contextmanager
    def scheduler(cluster: str) -> Iterator[str]:
        if cluster not in ("auto", "local"):
            with own(cluster) as address:
                yield address
            return
        from distributed import LocalCluster

        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        with LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as started:
            yield started.scheduler_address

    return scheduler


def preload() -> None:
    """Import what the commands import, so that each forked process has it."""
    for name in _IMPORTED:
        importlib.import_module(name)


def section(ended: Sequence[Ended]) -> list[str]:
    """The table: kinds of what was handed over, and how they ended."""
    by_kind: dict[str, Counter[str]] = {}
    for one in ended:
        by_kind.setdefault(one.case.kind, Counter())[one.ending] += 1
    total = Counter(one.ending for one in ended)
    lines = [
        f"{len(ended)} run files and argument lists of {len(by_kind)} kinds; the slowest was "
        f"refused or accepted after {max(one.seconds for one in ended):.1f} s.",
        "",
        f"| kind | cases | {' | '.join(ENDINGS)} |",
        f"|---|{'---:|' * (1 + len(ENDINGS))}",
    ]
    for kind, row in {**by_kind, "**all**": total}.items():
        counts = " | ".join(str(row[ending] or "") for ending in ENDINGS)
        lines.append(f"| {kind} | {row.total()} | {counts} |")
    return lines


def main() -> None:
    """Print the table; status 1 if a case ended as none should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=120, help="changed run files")
    parser.add_argument("--seed", type=int, default=0, help="that they are drawn with")
    parser.add_argument("--kinds", nargs="*", default=[""], help="only kinds with such a word")
    parser.add_argument("--verbose", action="store_true", help="what each case was told")
    arguments = parser.parse_args()
    sys.path.append(str(_TESTS))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_TESTS.parent), str(_TESTS)])
    preload()
    from benchmarks.refusal_cases import all_cases, finish_tiny_run

    began, ended = time.monotonic(), []
    with tempfile.TemporaryDirectory() as temporary:
        finished = finish_tiny_run(Path(temporary) / "finished")
        cases = all_cases(finished, arguments.mutations, arguments.seed)
        for case in cases:
            if not any(word in case.kind for word in arguments.kinds):
                continue
            room = Path(tempfile.mkdtemp(dir=temporary))
            ended.append(one := tried(case, room))
            shutil.rmtree(room, ignore_errors=True)
            if arguments.verbose or not one.right:
                _tell(one)
    print("\n".join(section(ended)))
    print(f"\n{time.monotonic() - began:,.0f} s")
    raise SystemExit(int(not all(one.right for one in ended)))


def _tell(one: Ended) -> None:
    arguments = " ".join(one.case.arguments)[:200]
    wanted = f", not {one.case.expected}" if not one.right and one.case.expected else ""
    print(f"--- {one.case.kind}: {one.ending}{wanted} after {one.seconds:.1f} s: {arguments!r}")
    with contextlib.suppress(KeyError):
        print(f"    {one.case.files['mine.yaml'][:300]!r}")
    text = io.StringIO(one.said[-1500:] if not one.right else one.said[-400:])
    print("".join(f"    {line!r}\n" for line in text.read().split("\n")), flush=True)


if __name__ == "__main__":
    main()
