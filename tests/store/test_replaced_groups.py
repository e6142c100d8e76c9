"""A group that is replaced is the old or the new one, wherever a process was killed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ddp_tasks.store import groups

GROUP = "decomposition/conv"


def dataset(value: float) -> xr.Dataset:
    return xr.Dataset(
        {
            "S": ("singular_vector", np.full(2, float(value))),
            "U": (("channel", "singular_vector"), np.eye(2)),
        }
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    groups.write(tmp_path, GROUP, dataset(1), {"made": "first"})
    return tmp_path


def folders(path: Path) -> list[str]:
    return [place.name for place in (path / "decomposition").iterdir() if place.is_dir()]


def value(path: Path) -> float:
    return float(groups.read(path, GROUP)["S"][0])


def test_a_replaced_group_is_whole_and_leaves_nothing_else(path: Path) -> None:
    groups.replace(path, GROUP, dataset(2), {"made": "second"})
    assert value(path) == 2
    assert groups.is_recorded(path, GROUP, {"made": "second"})
    assert groups.names_below(path, "decomposition") == ["conv"]
    assert folders(path) == ["conv"]
    groups.replace(path, "decomposition/other", dataset(3))
    assert groups.names_below(path, "decomposition") == ["conv", "other"]


@pytest.mark.parametrize("stops_after", ["write", "first rename", "second rename"])
def test_a_process_killed_while_it_replaces_a_group_loses_nothing(
    path: Path, stops_after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    renames = {"write": 0, "first rename": 1, "second rename": 2}[stops_after]
    rename = Path.rename
    calls = []

    def counted(self: Path, target: Path) -> Path:
        if len(calls) == renames:
            raise Killed
        calls.append(self)
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", counted)
        if renames == 2:
            patch.setattr(groups, "_clear_group", killed_at_old(groups._clear_group, Killed))
        with pytest.raises(Killed):
            groups.replace(path, GROUP, dataset(2))
    groups.recover(path, "decomposition")
    assert value(path) == (2 if stops_after == "second rename" else 1)
    assert folders(path) == ["conv"]


def killed_at_old(clear, error):
    def clearing(path: Path, group: str) -> None:
        if group.endswith("~old") and (path / group).exists():
            raise error
        clear(path, group)

    return clearing


def test_recovering_a_store_without_such_groups_does_nothing(path: Path) -> None:
    groups.recover(path, "decomposition")
    groups.recover(path, "visualizations")
    assert value(path) == 1
    shutil.rmtree(path / "decomposition")
    groups.recover(path, "decomposition")
    assert groups.names_below(path, "decomposition") == []
