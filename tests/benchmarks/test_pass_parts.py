import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import pass_parts


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_every_part_of_a_shard_is_measured_beside_the_loops(tmp_path):
    random = np.random.default_rng(0)
    for image in range(6):
        folder = tmp_path / "cifar10" / "test" / f"class {image % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{image}.png")
    lines = pass_parts.lines_of("ResNet-20", tmp_path, images=8, turns=1)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[5:]]
    assert len(rows) == 12
    assert [row[0] for row in rows[:2]] == [pass_parts.CONTIGUOUS, pass_parts.LAST]
    assert (rows[0][2], rows[1][3]) == ("1.000", "1.000")
    assert all(float(row[1]) > 0 for row in rows)
    whole = next(row for row in rows if row[0] == pass_parts.WHOLE)
    assert whole[3].endswith("(asked 0.85)")


def test_a_share_is_the_loops_time_over_the_parts_beside_it():
    assert pass_parts.share([1.0, 4.0, 2.0], [2.0, 4.0, 8.0]) == 0.5
