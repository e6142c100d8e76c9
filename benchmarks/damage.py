"""Stores damaged file by file, and runs killed file by file: what becomes of each.

    python -m benchmarks.damage [--every N] [--kills N]

A run of a few seconds, and a list of two models, are carried out whole. Then, of every kind of file
of their stores (group, array, chunk or metadata), one is damaged in each of the ways of
``DAMAGES``. Asked is whether the check of the store names it, and whether each question gives the
answer of the undamaged store or a refusal. Continued, they must end with the same bits, or refuse.
Last, they are started from nothing and killed as they put their n-th file in place, and continued:
the same bits again. Prefect has no part in it: stages are called in their order, on a Dask cluster
in the same process, which is forked anew. Appends a section to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from prefect.logging import disable_run_logger

from ddp_tasks.queries import significance
from ddp_tasks.queries.finished_run import open_finished
from ddp_tasks.queries.recorded_images import recorded_contents
from ddp_tasks.stages import (
    capacity,
    decomposition,
    extraction,
    family,
    pictures,
    projections,
    signals,
    stage,
)
from ddp_tasks.stages import significance as significance_tasks
from ddp_tasks.store import creation, cube, taken_back, wholeness
from ddp_tasks.store import groups as store
from schemas.names import group_path
from schemas.parameters import RunError, RunParameters
from schemas.run_files import check
from schemas.variables import SchemaError
from schemas.zoo import ZooParameters

RESULTS = Path(__file__).with_name("RESULTS.md")
COMMAND = "python -m benchmarks.damage"

_NEVER = 10**9
_FILES = "files-put-in-place"

_KILLED, _REFUSED, _FAILED = 9, 3, 4

#: Groups of layers, whose files are of the same kinds for each.
_BY_LAYER = ("decomposition", "hypergraphs", "hierarchies", "stability", "projections")


@dataclass(frozen=True)
class Job:
    """What is carried out in a folder, and what its store is asked."""

    name: str
    store: str
    carry_out: Callable[[Path, str], None]
    """in a folder, on the workers of a scheduler's address."""
    questions: Callable[[Path], dict[str, Callable[[], Any]]]
    """of a finished folder, each by itself."""
    check: Callable[[Path], Iterator[wholeness.Damage]]
    """the store's own."""


def _flip(content: bytes, at: int) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


#: What a file of some bytes becomes, given a file of the same array or kind; None: it is gone.
DAMAGES: dict[str, Callable[[bytes, bytes], bytes | None]] = {
    "a bit in the middle": lambda content, _: _flip(content, len(content) // 2),
    "a bit at the end": lambda content, _: _flip(content, -2),
    "cut to half": lambda content, _: content[: len(content) // 2],
    "empty": lambda content, _: b"",
    "another's": lambda content, other: other,
    "gone": lambda content, _: None,
}


def kinds(path: Path) -> dict[tuple[str, ...], list[Path]]:
    """Files of a store by their kind: group, array, and chunk or metadata."""
    found: dict[tuple[str, ...], list[Path]] = {}
    for file in sorted(path.rglob("*")):
        if file.is_file():
            parts = list(file.relative_to(path).parts)
            if parts[0] in _BY_LAYER and len(parts) > 2:
                parts[1] = "*"
            if "c" in parts:
                parts = parts[: parts.index("c") + 1]
            found.setdefault(tuple(parts), []).append(file)
    return found


def damaged_files(path: Path) -> Iterator[tuple[str, str, Path, bytes | None]]:
    """One file of each kind with each damage: the kind, the damage, the file, what it becomes."""
    for kind, files in kinds(path).items():
        file, other = files[len(files) // 2], files[0]
        content = file.read_bytes()
        for damage, of in DAMAGES.items():
            changed = of(content, other.read_bytes())
            if changed != content:
                yield "/".join(kind), damage, file, changed


@contextmanager
def damaged(file: Path, content: bytes | None) -> Iterator[None]:
    """A file with another content, or none, until the end."""
    before = file.read_bytes()
    try:
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        yield
    finally:
        file.write_bytes(before)


def list_questions(folder: Path) -> dict[str, Callable[[], Any]]:
    """What a finished list of models is asked: each group, read whole."""
    path = folder / "capacity.zarr"
    return {f"read {group}": partial(_values, path, group) for group in groups(path)}


def questions(folder: Path) -> dict[str, Callable[[], Any]]:
    """What a finished run is asked, each by itself; the groups are read whole as well."""
    path = folder / "store.zarr"
    asked: dict[str, Callable[[], Any]] = {
        f"read {group}": partial(_values, path, group) for group in groups(path)
    }
    layers = store.read(path, "layers")["layer"].to_numpy().tolist()
    for layer in layers:
        asked[f"signals of {layer}"] = lambda layer=layer: cube.layer_signals(
            path, layer
        ).to_numpy()
    open_significance = partial(significance.open_significance, folder)
    asked["table"] = lambda: open_significance().table(layers[-1]).to_csv()
    asked["ranked"] = lambda: open_significance().ranked(layers[0]).to_csv()
    asked["distinguish"] = lambda: open_significance().distinguishing("left", "both").to_csv()
    asked["unreadable"] = lambda: repr(taken_back.unreadable_images(path))
    asked["contents"] = lambda: repr(recorded_contents(path))
    asked["finished"] = lambda: repr(open_finished(folder).run)
    return asked


def groups(path: Path) -> list[str]:
    """Groups of a store that have arrays."""
    kind = {
        file.parent: json.loads(file.read_text())["node_type"] for file in path.rglob("zarr.json")
    }
    found = {folder.parent for folder, node in kind.items() if node == "array"}
    return sorted(group.relative_to(path).as_posix() for group in found)


def _values(path: Path, group: str) -> dict[str, Any]:
    dataset = store.read(path, group).load()
    return {str(name): array.to_numpy() for name, array in dataset.variables.items()}


def outcomes(right: dict[str, Any], asked: dict[str, Callable[[], Any]]) -> Counter[str]:
    """How many questions were answered as before, refused, or wrongly answered."""
    found: Counter[str] = Counter()
    for name, question in asked.items():
        try:
            answer = question()
        except (RunError, SchemaError):
            found["refused"] += 1
        except Exception as error:  # noqa: BLE001 - what must not happen is what is looked for
            found["wrong"] += 1
            print(f"  {name}: {type(error).__name__}: {error}", file=sys.stderr)
        else:
            same = _same(answer, right[name])
            found["right" if same else "wrong"] += 1
            if not same:
                print(f"  {name}: another answer", file=sys.stderr)
    return found


def _same(one: Any, other: Any) -> bool:
    try:
        np.testing.assert_equal(one, other)
    except AssertionError:
        return False
    return True


def stages(run: RunParameters, folder: Path, address: str) -> None:
    """Carry out a run or continue it, all but its page."""
    path, files = folder / "store.zarr", folder / "hypergraphs"
    decomposition.decompose_layers.without_prefect(run, path, address)
    if not run.extraction.plain:
        extraction.measure_extraction.without_prefect(run, path, address)
    signals.fill_cube.without_prefect(run, path, address)
    capacity.measure_capacity.without_prefect(run, path, address)
    significance_tasks.measure_significance.without_prefect(run, path, address)
    family.group_classes.without_prefect(run, path)
    if run.spatial_statistics:
        extraction.measure_positions.without_prefect(run, path, address)
    significance_tasks.find_exemplars.without_prefect(run, path, address)
    significance_tasks.build_hypergraphs.without_prefect(run, path, files, address)
    pictures.keep_pictures.without_prefect(run, path, address)
    projections.project_exemplars.without_prefect(run, path, address)
    family.map_family.without_prefect(run, path, address)
    family.judge_stability.without_prefect(run, path, address)
    store.seal(path)


def list_stages(zoo: ZooParameters, folder: Path, address: str) -> None:
    """Carry out a list of models or continue it, all but its page."""
    path = folder / "capacity.zarr"
    creation.create_zoo(path, zoo)
    found = {}
    for model in zoo.models:
        capacity.analyse_model.without_prefect(zoo, model, path, address)
        found[model.name] = store.read(path, group_path("capacity", model.name)).load()
    store.write(path, "zoo", capacity.zoo_dataset(zoo, found, {}))
    store.seal(path)


@contextmanager
def _silent(*_: Any) -> Iterator[Callable[[int], None]]:
    """In the place of a progress bar, which Prefect's server keeps."""
    yield lambda _: None


def carried_out(job: Job, folder: Path, kill_at: int | None = None) -> str:
    """Carry out a job in a process of its own, forked from this one, and say how it ended.

    Parameters
    ----------
    kill_at
        the process ends as it puts this file in its place, counted from 0: by turns before and
        after.

    Returns
    -------
    done, killed, refused or failed
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if not (child := os.fork()):
        os._exit(_in_child(job, folder, kill_at))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {0: "done", _KILLED: "killed", _REFUSED: "refused"}.get(code, "failed")


def _in_child(job: Job, folder: Path, kill_at: int | None) -> int:
    from distributed import LocalCluster

    stage.progress = _silent  # type: ignore[assignment]
    if kill_at is not None:
        _kill_at(kill_at)
    try:
        with (
            disable_run_logger(),
            LocalCluster(
                n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
            ) as cluster,
        ):
            job.carry_out(folder, cluster.scheduler_address)
            (folder / _FILES).write_text(str(_placed[0]))
            os._exit(0)  # nothing is left to be closed in order
    except (RunError, SchemaError) as error:
        print(f"  refused: {error}", file=sys.stderr)
        return _REFUSED
    except BaseException as error:  # noqa: BLE001 - a process of its own ends here
        print(f"  {type(error).__name__}: {error}", file=sys.stderr)
        return _FAILED


_placed = [0]


def _kill_at(place: int) -> None:
    replace = Path.replace

    def counted(part: Path, target: Path) -> Path:
        now, _placed[0] = _placed[0], _placed[0] + 1
        if now == place and place % 2:
            os._exit(_KILLED)
        done = replace(part, target)
        if now == place:
            os._exit(_KILLED)
        return done

    Path.replace = counted  # type: ignore[method-assign, assignment]


def differences(one: Path, other: Path) -> list[str]:
    """Files that two stores do not have alike; when the root was created does not count."""
    files = [
        {
            file.relative_to(path).as_posix(): file
            for file in path.rglob("*")
            if file.is_file() and not file.name.endswith((".partial", ".part"))
        }
        for path in (one, other)
    ]
    differ = [
        name
        for name in sorted({*files[0], *files[1]} - {"zarr.json"})
        if name not in files[0]
        or name not in files[1]
        or files[0][name].read_bytes() != files[1][name].read_bytes()
    ]
    gathered = [
        json.loads((path / "zarr.json").read_bytes()).get("consolidated_metadata")
        for path in (one, other)
    ]
    return [*differ, *(["zarr.json"] if gathered[0] != gathered[1] else [])]


def read_damaged(job: Job, folder: Path, every: int) -> Counter[str]:
    """Damage one file after the other; count what is named, and how questions are answered."""
    asked, path = job.questions(folder), folder / job.store
    right = {name: question() for name, question in asked.items()}
    found: Counter[str] = Counter()
    for kind, damage, file, content in list(damaged_files(path))[::every]:
        with damaged(file, content):
            named = any(job.check(path))
            answers = outcomes(right, asked)
        found.update(tried=1, named=named, refused=answers["refused"] > 0)
        found["wrong"] += answers["wrong"] > 0
        if not named or answers["wrong"]:
            print(f"  {kind}, {damage}: named: {named}, {dict(answers)}", file=sys.stderr)
    return found


def mend_damaged(job: Job, folder: Path, every: int) -> Counter[str]:
    """Continue the run after each damage, and count the stores that are as they were."""
    found = Counter(tried=0, right=0, refused=0, wrong=0)
    for kind, damage, file, content in list(damaged_files(folder / job.store))[::every]:
        with tempfile.TemporaryDirectory() as room:
            copy = Path(shutil.copytree(folder, Path(room) / "run"))
            place = copy / file.relative_to(folder)
            place.unlink() if content is None else place.write_bytes(content)
            _count(job, found, copy, folder, f"{kind}, {damage}")
    return found


def continue_killed(job: Job, folder: Path, files: int, kills: int) -> Counter[str]:
    """Kill the run at places spread over the files that it writes, and continue it each time."""
    found = Counter(tried=0, right=0, refused=0, wrong=0)
    for place in np.unique(np.linspace(0, files - 1, kills).astype(int)).tolist():
        with tempfile.TemporaryDirectory() as room:
            copy = Path(room)
            if (ended := carried_out(job, copy, place)) != "killed":
                found.update(tried=1, wrong=1)
                print(f"  not killed at file {place}, but {ended}", file=sys.stderr)
                continue
            _count(job, found, copy, folder, f"killed at file {place}")
    return found


def _count(job: Job, found: Counter[str], copy: Path, folder: Path, what: str) -> None:
    """Continue a job in a copy, and count it as right, refused or wrong."""
    ended = carried_out(job, copy)
    found["tried"] += 1
    if ended == "refused":
        found["refused"] += 1
        return
    differ = differences(copy / job.store, folder / job.store) if ended == "done" else []
    right = ended == "done" and not differ
    found["right" if right else "wrong"] += 1
    if not right:
        print(f"  {what}: {ended}, {len(differ)} files differ: {differ[:4]}", file=sys.stderr)


def section(rows: dict[str, Counter[str]]) -> list[str]:
    """The table of all three parts."""
    columns = ("tried", "named", "right", "refused", "wrong")
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(str(row.get(c, '-')) for c in columns)} |")
    return lines


def _jobs() -> tuple[Job, Job]:
    """The run of the tests, with everything that a run may write, and a list of two models."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from runs import HERE, tiny_run  # type: ignore[import-not-found]

    levels = {"quantile": 0.8, "percentage": 60, "resamples": 5, "sample_sizes": [5]}
    levels["superclasses"] = {"one": ["left", "both"], "other": ["right"]}
    run = tiny_run(spatial_statistics=True, significance=levels)
    model = {"family": "tiny", "factory": f"{HERE}:TinyNetwork"}
    models = [
        {**model, "name": f"seed {seed}", "accuracy": 50 + seed, "kwargs": {"seed": seed}}
        for seed in (0, 1)
    ]
    zoo = check(ZooParameters, {"name": "two", "input_size": [2, 8, 8], "models": models}, "two")
    return (
        Job("run", "store.zarr", partial(stages, run), questions, wholeness.check_store),
        Job(
            "list of models",
            "capacity.zarr",
            partial(list_stages, zoo),
            list_questions,
            wholeness.check_zoo,
        ),
    )


def _tried(job: Job, kills: int, every: int) -> Iterator[tuple[str, Counter[str]]]:
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room)
        if carried_out(job, folder, kill_at=_NEVER) != "done":
            raise SystemExit(f"the {job.name} itself failed")
        files = int((folder / _FILES).read_text())
        yield (
            f"{job.name}, killed at a file of {files} and continued",
            continue_killed(job, folder, files, kills),
        )
        yield f"{job.name}, damaged and continued", mend_damaged(job, folder, every)
        yield f"{job.name}, damaged and asked", read_damaged(job, folder, every)


def main() -> None:
    """Print the table; status 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="damage every N-th file and way")
    parser.add_argument("--kills", type=int, default=10**6, help="places at which runs are killed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to append to")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    began, rows = time.monotonic(), dict[str, Counter[str]]()
    for job in _jobs():
        for name, row in _tried(job, arguments.kills, arguments.every):
            rows[name] = row
            print("\n".join(section(rows)), flush=True)
    wrong = any(
        row["wrong"] or row.get("named", row["tried"]) < row["tried"] for row in rows.values()
    )
    if wrong:
        raise SystemExit(1)
    given = f" --kills {arguments.kills}" if arguments.kills < 10**6 else ""
    given += f" --every {arguments.every}" if arguments.every > 1 else ""
    told = [
        f"## Damaged stores and killed runs, {datetime.date.today().isoformat()}",
        "",
        f"`{COMMAND}{given}` ({time.monotonic() - began:,.0f} s). Of each kind of file one is "
        "damaged: a bit, its end, cut, emptied, another's, gone. Refused of stores asked counts "
        "the damages for which a question was refused.",
        "",
        *section(rows),
    ]
    with arguments.results.open("a") as file:
        file.write("\n" + "\n".join(told) + "\n")


if __name__ == "__main__":
    main()
