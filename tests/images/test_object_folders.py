"""Pictures and weights at addresses in an object store, beside the same on a disk."""

import numpy as np
import pytest
import s3_server
import torch
from PIL import Image
from runs import HERE, TinyNetwork

from ddp_tasks.images import open_images
from ddp_tasks.images.picture_folders import look_at
from ddp_tasks.networks.models import model_digest, open_model
from schemas.object_paths import path_of
from schemas.parameters import ImageParameters, ModelParameters, RunError


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A bucket's folder."""
    with (
        s3_server.served(tmp_path_factory.mktemp("s3")) as url,
        pytest.MonkeyPatch.context() as to,
    ):
        for name, value in {**s3_server.ENVIRONMENT, "AWS_ENDPOINT_URL": url}.items():
            to.setenv(name, value)
        yield path_of(f"{s3_server.BUCKET}/some where")


@pytest.fixture(scope="module")
def folders(address, tmp_path_factory):
    """The same pictures in folders on a disk and at an address, one of them damaged."""
    disk, drawn = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    names = ["b/2.png", "b/10.PNG", "b/sub/1.png", "a/x.jpg", "a/z.png", "a/é.png", "a/notes.txt"]
    for name in names:
        file = disk / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = drawn.integers(0, 255, (9, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, "jpeg" if name.endswith("jpg") else "png")
    (disk / "a/z.png").write_bytes((disk / "a/z.png").read_bytes()[:60])
    for name in names:
        (address / "pictures" / name).write_bytes((disk / name).read_bytes())
    return disk, address / "pictures"


def _images(root):
    return open_images(
        ImageParameters(
            factory="ddp_tasks.images:picture_folder", kwargs={"root": str(root)}, unreadable=0.5
        )
    )


def test_pictures_at_an_address_are_those_of_a_folder(folders):
    disk, there = map(_images, folders)
    assert there.ids == disk.ids
    assert there.target_classes == disk.target_classes == ("a", "b")
    assert there.target.tolist() == disk.target.tolist()
    assert there.digest() == disk.digest()
    index = np.arange(len(disk.ids))
    device = torch.device("cpu")
    contents = [], []
    pictures = [
        images.reader.read(index, device, into)
        for images, into in zip((disk, there), contents, strict=True)
    ]
    assert contents[0] == contents[1]
    for one, other in zip(*pictures, strict=True):
        assert type(one) is type(other)
        assert one == other if isinstance(one, str) else torch.equal(one, other)
    assert sum(isinstance(one, str) for one in pictures[1]) == 1
    assert there.dataset[0][0].tobytes() == disk.dataset[0][0].tobytes()


def test_a_run_file_is_made_for_pictures_at_an_address(folders):
    disk, there = map(look_at, folders)
    assert (there.sizes, there.mean, there.fewest) == (disk.sizes, disk.mean, disk.fewest)
    assert there.factory == "ddp_tasks.images:picture_folder"


def test_an_address_without_pictures_or_bucket_is_refused_by_its_cause(address):
    with pytest.raises(RunError, match=r"images.kwargs.root: '.*/nothing': there is no folder"):
        _images(address / "nothing")
    with pytest.raises(RunError, match="'s3://no-such-bucket/x': there is no such bucket"):
        _images("s3://no-such-bucket/x")


def test_weights_at_an_address_are_read_without_running_code(address, tmp_path):
    model = TinyNetwork(seed=3)
    torch.save(model.state_dict(), tmp_path / "tiny.pt")
    there = address / "tiny.pt"
    there.write_bytes((tmp_path / "tiny.pt").read_bytes())
    asked = ModelParameters(factory=f"{HERE}:TinyNetwork", weights=str(there))
    assert model_digest(open_model(asked)) == model_digest(model)
    torch.save(model, tmp_path / "tiny.pt")
    there.write_bytes((tmp_path / "tiny.pt").read_bytes())
    with pytest.raises(RunError, match=r"model.weights: 's3://.*/tiny.pt' holds .*running code"):
        open_model(asked)
    with pytest.raises(RunError, match=r"there is no object 's3://.*/none.pt'"):
        open_model(asked.model_copy(update={"weights": str(address / "none.pt")}))
