"""Files written whole or not at all, where others may have laid links or left halves."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ddp_tasks.files.whole import clear_parts, replacing, write_whole

ROOT = Path(__file__).parents[2]


def test_a_file_is_replaced_and_has_the_mode_that_files_have(tmp_path):
    place, other = tmp_path / "page.html", tmp_path / "other"
    place.write_text("before")
    other.touch()
    write_whole(place, "after: σ")
    assert place.read_bytes() == "after: σ".encode()
    assert stat.S_IMODE(place.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["other", "page.html"]


def test_a_failure_leaves_what_was_there(tmp_path):
    place = tmp_path / "page.html"
    place.write_text("before")
    with pytest.raises(TypeError), replacing(place) as file:
        file.writelines([b"half", "no bytes"])
    assert place.read_text() == "before"
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("name", ["page.html", "page.part", "page.html.part"])
def test_a_link_that_somebody_laid_is_not_followed(tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / name).symlink_to(victim)
    write_whole(folder / "page.html", "page")
    assert victim.read_text() == "precious"
    assert (folder / "page.html").read_text() == "page"
    assert not (folder / "page.html").is_symlink()


def test_what_a_killed_process_left_is_cleared_and_nothing_else(tmp_path):
    kept = [tmp_path / ".ddp-notes.part", tmp_path / "a.part", tmp_path / ".ddp-0.part"]
    for file in kept:
        file.touch()
    killed = (
        "import os, sys; from pathlib import Path; from ddp_tasks.files.whole import replacing\n"
        "with replacing(Path(sys.argv[1], 'page.html')) as file: file.write(b'half'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", killed, tmp_path], check=True, cwd=ROOT)
    assert len(list(tmp_path.iterdir())) == len(kept) + 1
    assert clear_parts(tmp_path) == 0  # it may be a living process's
    (part,) = {*tmp_path.iterdir()} - {*kept}
    os.utime(part, (0, 0))
    assert clear_parts(tmp_path) == 1
    assert sorted(tmp_path.iterdir()) == sorted(kept)
