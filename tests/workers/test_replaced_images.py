"""An image that is another than when its signals were written is noticed, whatever holds it."""

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from run_stages import fill
from runs import HERE, Noise, tiny_run

from ddp_tasks.images.contents import UNKNOWN, Content, content
from ddp_tasks.images.image_sets import open_images
from ddp_tasks.images.reading_ahead import read_ahead
from ddp_tasks.queries import finished_run
from ddp_tasks.queries.recorded_images import recorded_contents, replaced_sentence
from schemas import RunError
from schemas.parameters import ImageParameters, TransformParameters

CPU = torch.device("cpu")


class Changed(Noise):
    """Noise some of whose images have another first pixel."""

    def __init__(self, changed=(), **kwargs):
        super().__init__(**kwargs)
        for i in changed:
            self.images[i, 0, 0, 0] += 1


def test_a_content_is_size_and_sha256():
    found = content(b"an image")
    assert found.size == 8
    assert found.digest == int.from_bytes(hashlib.sha256(b"an image").digest()[:8], "little")
    assert content(np.frombuffer(b"an image", np.uint8).data) == found
    assert found.changed_from(found) is None
    assert found.changed_from(content(b"an imagf")) == "its 8 bytes differ"
    assert found.changed_from(content(b"image")) == "it had 5 bytes and has 8"


def trees(tmp_path, names=("a/1.png", "a/2.jpg", "b/1.bmp", "b/2.png")):
    for i, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (6, 4), (40 * i, 9, 0)).save(tmp_path / name)
    return tmp_path


def opened(factory, transform=None, **kwargs):
    of = None if transform is None else TransformParameters(**transform)
    return open_images(
        ImageParameters(factory=factory, kwargs=kwargs, transform=of, unreadable=0.5)
    )


@pytest.mark.parametrize("kind", ["files", "index"])
def test_contents_are_recorded_as_images_are_read(tmp_path, kind):
    if kind == "files":
        root = trees(tmp_path)
        images = opened("torchvision.datasets:ImageFolder", {}, root=str(root))
        expected = [content((root / name).read_bytes()) for name in images.ids]
    else:
        images = opened(f"{HERE}:Noise", images=4)
        expected = [content(picture.numpy().tobytes()) for picture in Noise(4).images]
    found: dict[int, Content] = {}
    assert len(list(read_ahead(images, range(1, 4), 2, CPU, {}, contents=found))) == 2
    assert found == {i: expected[i] for i in (1, 2, 3)}
    assert [images.content(i) for i in range(4)] == expected
    assert [images.changed(i, expected[i]) for i in range(4)] == [None] * 4
    assert images.changed(0, expected[1]) is not None


def test_unreadable_images_have_no_content(tmp_path):
    root = trees(tmp_path)
    (root / "a/2.jpg").write_bytes(b"no picture")
    images = opened("torchvision.datasets:ImageFolder", {}, root=str(root))
    found, reasons = {}, {}
    list(read_ahead(images, range(4), 4, CPU, reasons, contents=found))
    assert set(found) == {0, 2, 3}
    assert set(reasons) == {1}
    (root / "a/1.png").unlink()
    assert images.content(0) == UNKNOWN
    assert images.changed(0, found[0]) == "it cannot be read now"


def test_files_of_another_size_are_not_read(tmp_path, monkeypatch):
    root = trees(tmp_path)
    images = opened("torchvision.datasets:ImageFolder", {}, root=str(root))
    was = images.content(0)
    (root / "a/1.png").write_bytes(b"0" * 10)
    asked = Counter()
    monkeypatch.setattr(type(images.reader), "content", lambda self, i: asked.update([i]) or was)
    assert images.changed(0, was) == f"it had {was.size:,} bytes and has 10"
    assert not asked


def test_replaced_images_are_told_by_name_and_how_many_more():
    replaced = {f"{i:02}": "its 8 bytes differ" for i in range(7)}
    assert replaced_sentence(replaced, 2) == (
        "image '00': its 8 bytes differ; image '01': its 8 bytes differ; and 5 more. "
        "Put back the images that were there, or start in another folder"
    )


# None of these is among the images that the digest of the whole set samples.
@pytest.mark.usefixtures("prefect_server")
def test_a_run_is_not_continued_on_replaced_images(address, undisturbed, tmp_path):
    path = tmp_path / "store.zarr"
    changed = f"{__file__}:Changed"
    fill(tiny_run(changed), path, address)
    before = recorded_contents(path)
    assert before == [content(picture.numpy().tobytes()) for picture in Noise().images]
    said = r"was made from other images: image '08': its 512 bytes differ; image '18': its 512"
    with pytest.raises(RunError, match=said):
        fill(tiny_run(changed, {"changed": [18, 8]}), path, address)
    # What is not written yet is computed from the images as they are.
    (path / "signals/complete/c/2").unlink()
    fill(tiny_run(changed, {"changed": [18]}), path, address)
    assert recorded_contents(path)[18] != before[18]
    assert recorded_contents(path)[:16] == before[:16]
    run = finished_run.open_finished(undisturbed.parent)
    images = opened(changed, changed=[18])
    run.check_image(images, 17)
    with pytest.raises(RunError, match="made from other images: image '18'"):
        run.check_image(images, 18)
