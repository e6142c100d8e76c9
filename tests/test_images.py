import numpy as np
import pytest
import torch
from PIL import Image

from ddp_tasks.images import open_images
from schemas import RunError
from schemas.parameters import ImageParameters, TransformParameters


def _open(name, transform=None, per_class=None, **kwargs):
    factory = name if ":" in name else f"image_sets:{name}"
    return open_images(
        ImageParameters(
            factory=factory,
            kwargs=kwargs,
            per_class=per_class,
            transform=None if transform is None else TransformParameters(**transform),
        )
    )


@pytest.fixture
def folder(tmp_path):
    """Pictures of classes b and a, one of them in colour, as ImageFolder reads them."""
    for name, colour in {"b/1": (255, 0, 0), "a/2": (0, 0, 0), "a/1": (0, 51, 0)}.items():
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (6, 4), colour).save(path)
    return tmp_path


def test_pictures_become_standardised_tensors(folder):
    images = _open(
        "torchvision.datasets:ImageFolder",
        {"mean": [0.0, 0.1, 0.0], "std": [1.0, 0.5, 1.0]},
        root=str(folder),
    )
    assert images.ids == ("a/1.png", "a/2.png", "b/1.png")
    assert images.target.tolist() == [0, 0, 1]
    assert images.target_classes == ("a", "b")
    batch = images.batch(0, 3)
    assert batch.shape == (3, 3, 4, 6)
    assert batch.dtype == torch.float32
    # a/1 has green 51 / 255 = 0.2, standardised (0.2 - 0.1) / 0.5 = 0.2; b/1 has red 1.
    torch.testing.assert_close(batch[0, :, 0, 0], torch.tensor([0, 0.2, 0]))
    torch.testing.assert_close(batch[2, :, 0, 0], torch.tensor([1, -0.2, 0]))
    assert images.picture(2)[0, 0].tolist() == [255, 0, 0]


def test_unreadable_pictures_are_named(folder):
    (folder / "a" / "2.png").write_bytes(b"no picture")
    images = _open("torchvision.datasets:ImageFolder", {}, root=str(folder))
    images.batch(0, 1)
    with pytest.raises(RunError, match=r"image 'a/2\.png' cannot be read: UnidentifiedImageError"):
        images.batch(0, 3)


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        ({}, (1, 4, 6)),
        # The shorter side, 4, becomes 8; the other follows.
        ({"resize": 8}, (1, 8, 12)),
        ({"crop": 2}, (1, 2, 2)),
        ({"resize": 8, "crop": 8}, (1, 8, 8)),
        ({"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}, (3, 4, 6)),
    ],
)
def test_resize_crop_and_grey_to_three_channels(transform, shape):
    batch = _open("Greys", transform).batch(0, 3)
    assert batch.shape == (3, *shape)
    # 0, 127 and 254 of 255, whatever the size: each picture is of one grey.
    for image, grey in zip(batch, (0, 127, 254), strict=True):
        torch.testing.assert_close(image, torch.full(shape, grey / 255))


def test_float_tensors_pass_as_they_are():
    images = _open("Floats")
    assert images.batch(1, 3).tolist() == [[[[1, 1], [1, 1]]], [[[2, 2], [2, 2]]]]
    assert images.target.tolist() == [0, 0, 1, 1]
    assert images.ids == ("0", "1", "2", "3")
    assert images.target_classes == ("0", "1")


def test_the_first_of_each_class_in_the_order_of_the_set():
    # Labels 0 1 2 0 1 2 0 1 2 0 1: two of each class are the first six.
    images = _open("Greys", {}, per_class=2, images=11)
    assert images.dataset_index.tolist() == [0, 1, 2, 3, 4, 5]
    assert images.ids[0] == "00"
    assert len(_open("Greys", {}, images=11)) == 11
    # A class with fewer gives all it has; indices stay those of the dataset.
    images = _open("Labelled", per_class=2, labels=[1, 1, 1, 0, 1])
    assert images.dataset_index.tolist() == [0, 1, 3]
    assert images.ids == ("0", "1", "3")


def test_class_names_are_told_apart_and_completed():
    images = _open("Labelled", labels=[0, 3], classes=("crane", "cat", "crane"))
    assert images.target_classes == ("crane (0)", "cat", "crane (2)", "3")


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["cat", "dog"], "one integer for each"),
        ([0.5, 1.0], "one integer for each"),
        ([[0], [1]], "one integer for each"),
        ([0, -1], "has the label -1; labels start at 0"),
        ([], "gave no images"),
    ],
)
def test_labels_that_are_no_class_numbers_are_refused(labels, reason):
    with pytest.raises(RunError, match=reason):
        _open("Labelled", labels=labels)


def test_streams_are_refused():
    with pytest.raises(RunError, match="no length or index"):
        _open("stream")


def test_images_that_fail_or_differ_are_named():
    with pytest.raises(RunError, match="image '2' cannot be read: OSError: the disk is gone"):
        _open("Broken").batch(0, 4)
    with pytest.raises(RunError, match=r"images 1 to 3 have different shapes .*resize and a crop"):
        _open("Ragged").batch(1, 4)
    assert _open("Ragged").batch(1, 2).shape == (1, 1, 3, 2)


def test_tensors_and_transforms_that_do_not_go_together_are_refused():
    with pytest.raises(RunError, match=r"uint8 tensor \(1, 4, 6\), not a float tensor"):
        _open("Greys").batch(0, 1)
    with pytest.raises(RunError, match=r"float32 tensor \(1, 2, 2\); images.transform takes"):
        _open("Floats", {}).batch(0, 1)
    with pytest.raises(RunError, match=r"has 1 channels; images\.transform\.mean has 2"):
        _open("Greys", {"mean": [0.0, 0.0], "std": [1.0, 1.0]}).batch(0, 1)


def test_pictures_to_look_at_span_black_to_white():
    images = _open("Separable")
    picture = images.picture(0)
    assert picture.shape == (2, 2, 3)
    assert picture.dtype == np.uint8
    assert (picture.min(), picture.max()) == (0, 255)
    # One grey alone has no span; it is black, not a division by zero.
    assert not _open("Floats").picture(3).any()


def test_digest_tells_image_sets_apart():
    digests = [
        _open("Greys", {}).digest(),
        _open("Greys", {}, per_class=2).digest(),
        _open("Greys", {"resize": 8}).digest(),
        _open("Floats").digest(),
        _open("Labelled", labels=[0, 0, 1, 1]).digest(),
    ]
    assert len(set(digests)) == 5
    assert _open("Greys", {}).digest() == digests[0]
