"""A run file from a network and a folder: it runs as it is, and says what was found."""

import re

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from ddp_tasks.images.picture_folders import look_at
from schemas.json_schema import MODELINE, schema_path
from schemas.parameters import ImageParameters, ModelParameters, RunError, RunParameters
from schemas.run_files import check, load_run

NETWORK = """
from torch import nn

def network(classes: int = 10):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes))
"""


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures of three classes, a network in a file and weights for it."""
    rng = np.random.default_rng(0)
    for i in range(12):
        place = tmp_path / "pictures/test" / ("ant", "bee", "cat")[i % 3]
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(place / f"{i}.png")
    (tmp_path / "mine.py").write_text(NETWORK)
    torch.manual_seed(0)
    own = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    torch.save(own.state_dict(), tmp_path / "weights.pt")
    return tmp_path


def init(ddp, folder, **changed):
    options = {
        "model": f"{folder / 'mine.py'}:network",
        "images": folder / "pictures",
        "weights": folder / "weights.pt",
        "out": folder / "mine.yaml",
        **changed,
    }
    given = [part for name, value in options.items() if value for part in (f"--{name}", value)]
    return ddp("init", *given)


def test_the_file_runs_as_it_is_and_names_every_other_key(ddp, folder):
    status, said = init(ddp, folder)
    assert (status, said.out) == (0, f"{folder / 'mine.yaml'}\n")
    text = (folder / "mine.yaml").read_text()
    assert text.startswith(f"{MODELINE}{schema_path('run')}\n")
    assert "# Found: 3 folders of 12 pictures in test." in text
    run = load_run(str(folder / "mine.yaml"))
    # The weights are those of three classes, not of the ten that the network has by default.
    assert run.model.kwargs == {"classes": 3}
    assert run.images.transform.resize is None
    pixels = [np.asarray(Image.open(p)) for p in (folder / "pictures").rglob("*.png")]
    expected = (np.stack(pixels) / 255).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(run.images.transform.mean, expected, atol=1e-3)
    status, said = ddp("layers", folder / "mine.yaml")
    assert [line.split()[0] for line in said.out.splitlines()[1:3]] == ["0", "3"]
    # With the # of every key taken away it is the same run.
    given, rest = text.split("\n# layers:")
    plain = re.sub("^# ", "", f"# layers:{rest}", flags=re.MULTILINE)
    keys = "|".join([*ModelParameters.model_fields, *ImageParameters.model_fields])
    given = re.sub(rf"^  # ((?:{keys}): )", r"  \1", given, flags=re.MULTILINE)
    content = yaml.safe_load(f"{given}\n{plain}")
    whole = check(RunParameters, {**content, "name": run.name}, "all keys")
    assert set(content) == set(RunParameters.model_fields) - {"name"}
    assert whole.model_dump(exclude={"model", "images"}) == run.model_dump(
        exclude={"model", "images"}
    )


def test_nothing_is_written_where_network_and_pictures_do_not_open(ddp, folder):
    (folder / "mine.yaml").touch()
    before = sorted(folder.iterdir())
    for changed, why in [
        ({}, "name a new .yaml file"),
        ({"out": folder / "other.yaml", "images": folder / "nowhere"}, "is not a folder"),
        ({"out": folder / "other.yaml", "weights": None}, "gives other weights at every call"),
        ({"out": folder / "other.yaml", "model": f"{folder}/mine.py:netwrk"}, "did you mean"),
    ]:
        status, said = init(ddp, folder, **changed)
        assert (status, why in said.err) == (2, True), said.err
        assert len(said.err.splitlines()) <= 3
    assert sorted(p for p in folder.iterdir() if p.name != "__pycache__") == before


def test_folders_are_known_by_what_lies_in_them(tmp_path):
    with pytest.raises(RunError, match="holds 0 pictures and no folder of a class"):
        look_at(tmp_path)
    raw = tmp_path / "MNIST/raw/t10k-images-idx3-ubyte.gz"
    raw.parent.mkdir(parents=True)
    raw.touch()
    assert look_at(tmp_path).factory == "torchvision.datasets:MNIST"
    sizes = [(20, 30), (40, 10)]
    for synset, (height, width) in zip(("n01440764", "n01443537"), sizes, strict=True):
        (tmp_path / f"sets/val/{synset}").mkdir(parents=True)
        Image.new("RGB", (width, height)).save(tmp_path / f"sets/val/{synset}/a.jpg")
    (tmp_path / "sets/train/other").mkdir(parents=True)
    found = look_at(tmp_path / "sets")
    assert found.factory == "ddp_tasks.images:imagenet"
    assert found.kwargs == {"root": str(tmp_path / "sets/val")}
    assert (found.sizes, found.fewest) == (((20, 30), (40, 10)), 1)
