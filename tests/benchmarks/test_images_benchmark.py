"""The benchmark of reading, tiny, so that it keeps running."""

import runpy
from pathlib import Path

import numpy as np
from image_sets import photograph

FILE = Path(__file__).parents[2] / "benchmarks" / "images.py"


def test_both_sides_read_the_same_files_and_are_timed(tmp_path):
    root = tmp_path / "tree"
    for i in range(4):
        path = root / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(90, 60, seed=i).save(path)
    lines = runpy.run_path(str(FILE))["reading_lines"](root, 4, 1, tmp_path)
    rows = [line for line in lines if line.startswith("| ") and "ms" not in line][1:]
    assert len(rows) == 3
    for row in rows:
        pil, ours, ratio = (float(cell) for cell in row.strip("| ").split(" | ")[1:])
        assert min(pil, ours, ratio) > 0
    assert "shorter side 60 pixels" in "\n".join(lines)


def test_decoded_pictures_are_those_of_the_files(tmp_path):
    root = tmp_path / "tree"
    (root / "a").mkdir(parents=True)
    photograph(8, 6).save(root / "a" / "0.png")
    pixels = np.asarray(photograph(8, 6))[None]
    np.save(tmp_path / "decoded.npy", pixels)
    decoded = runpy.run_path(str(FILE))["Decoded"](str(tmp_path / "decoded.npy"), str(root), 1)
    picture, target = decoded[0]
    assert (len(decoded), target) == (1, 0)
    np.testing.assert_array_equal(picture.permute(1, 2, 0), pixels[0])
