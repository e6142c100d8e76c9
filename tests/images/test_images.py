import numpy as np
import pytest
import torch
from PIL import Image

from ddp_tasks.images.image_sets import open_images
from ddp_tasks.store.identity import same_images
from schemas import RunError
from schemas.parameters import ImageParameters, TransformParameters


def _open(name, transform=None, per_class=None, unreadable=0.01, **kwargs):
    factory = name if ":" in name else f"image_sets:{name}"
    return open_images(
        ImageParameters(
            factory=factory,
            kwargs=kwargs,
            per_class=per_class,
            unreadable=unreadable,
            transform=None if transform is None else TransformParameters(**transform),
        )
    )


@pytest.fixture
def tree(tmp_path):
    """Pictures of classes b and a, one of them in colour, as ImageFolder reads them."""
    for name, colour in {"b/1": (255, 0, 0), "a/2": (0, 0, 0), "a/1": (0, 51, 0)}.items():
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (6, 4), colour).save(path)
    return tmp_path


def test_pictures_become_standardised_tensors(tree):
    images = _open(
        "torchvision.datasets:ImageFolder",
        {"mean": [0.0, 0.1, 0.0], "std": [1.0, 0.5, 1.0]},
        root=str(tree),
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


def test_one_mean_is_for_all_channels(tree):
    one, three = (
        _open(
            "torchvision.datasets:ImageFolder",
            {"mean": [0.25] * channels, "std": [0.5] * channels},
            root=str(tree),
        ).batch(0, 3)
        for channels in (1, 3)
    )
    assert one.shape == (3, 3, 4, 6)
    assert torch.equal(one, three)


def test_grey_pictures_of_sixteen_bits_have_their_brightness(tmp_path):
    for i, grey in enumerate([0, 0x7FFF, 0xFFFF]):
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), grey, dtype=np.uint16)).save(tmp_path / f"a/{i}.png")
    images = _open("torchvision.datasets:ImageFolder", {}, root=str(tmp_path))
    # Its upper byte of 255.
    found = images.batch(0, 3)[:, :, 0, 0]
    torch.testing.assert_close(found, torch.tensor([[0.0], [127 / 255], [1.0]]).expand(3, 3))


def test_unreadable_pictures_are_named(tree):
    (tree / "a" / "2.png").write_bytes(b"no picture")
    images = _open("torchvision.datasets:ImageFolder", {}, root=str(tree))
    images.batch(0, 1)
    with pytest.raises(
        RunError, match=r"'a/2\.png' cannot be read: UnidentifiedImageError: .*'a/2\.png'"
    ):
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


def test_streams_are_refused():
    with pytest.raises(RunError, match="no length or index"):
        _open("stream")


def test_images_that_fail_or_differ_are_named():
    with pytest.raises(RunError, match="image '2' cannot be read: OSError: the disk is gone"):
        _open("Broken").batch(0, 4)
    said = r"image '1' cannot be read: it has shape \(1, 3, 2\) and '0' has \(1, 2, 2\); .*a crop"
    with pytest.raises(RunError, match=said):
        _open("Ragged").batch(1, 4)
    assert _open("Ragged").batch(0, 1).shape == (1, 1, 2, 2)


def test_what_can_be_read_is_told_from_what_cannot():
    found = _open("Broken").read(0, 4)
    assert [isinstance(picture, torch.Tensor) for picture in found] == [True, True, False, True]
    assert found[2] == "OSError: the disk is gone"


def test_the_first_readable_image_is_the_example(tree):
    (tree / "a" / "1.png").write_bytes(b"no picture")
    images = _open("torchvision.datasets:ImageFolder", {}, root=str(tree), unreadable=0.4)
    assert images.first_readable == 1
    torch.testing.assert_close(images.example(), images.batch(1, 2))
    with pytest.raises(RunError, match=r"1 image cannot be read: a/1\.png .*allows, 0: repair"):
        _open("torchvision.datasets:ImageFolder", {}, root=str(tree)).example()


def test_a_set_of_which_nothing_can_be_read_is_refused(tree):
    for path in tree.rglob("*.png"):
        path.write_bytes(b"no picture")
    images = _open("torchvision.datasets:ImageFolder", {}, root=str(tree), unreadable=0.99)
    with pytest.raises(RunError, match=r"3 images cannot be read: a/1\.png"):
        images.example()


def test_tensors_and_transforms_that_do_not_go_together_are_refused():
    with pytest.raises(RunError, match=r"uint8 tensor \(1, 4, 6\), no float tensor"):
        _open("Greys").example()
    with pytest.raises(RunError, match=r"float32 tensor \(1, 2, 2\); images.transform takes"):
        _open("Floats", {}).example()
    with pytest.raises(RunError, match=r"has 1 channels; images\.transform\.mean has 2"):
        _open("Greys", {"mean": [0.0, 0.0], "std": [1.0, 1.0]}).example()


def test_pictures_to_look_at_span_black_to_white():
    images = _open("Separable")
    picture = images.picture(0)
    assert picture.shape == (2, 2, 3)
    assert picture.dtype == np.uint8
    assert (picture.min(), picture.max()) == (0, 255)
    # One grey alone has no span; it is black, not a division by zero.
    assert not _open("Floats").picture(3).any()


def test_ids_are_paths_below_the_root_in_the_order_of_their_letters(tmp_path):
    # Folders made in another order, a capital, a letter with an accent composed of two characters
    # and a name that is no UTF-8: what the file system lists first must not matter.
    names = ["b/2.png", "b/10.png", "B/1.png", "a/e\u0301.png", "a/sub/x.png", "a/\udcff.png"]
    for name in reversed(names):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    expected = ("B/1.png", "a/\u00e9.png", "a/\\xff.png", "a/sub/x.png", "b/10.png", "b/2.png")
    for root in (str(tmp_path), f"{tmp_path}/"):
        assert _open("torchvision.datasets:ImageFolder", {}, root=root).ids == expected
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert _open("torchvision.datasets:ImageFolder", {}, root=str(moved)).ids == expected
    # They are text that any store takes.
    "".join(expected).encode()


def test_the_digest_of_files_is_of_their_bytes(tree):
    def digest():
        return _open("torchvision.datasets:ImageFolder", {}, root=str(tree)).digest()

    path, before = tree / "a" / "2.png", digest()
    kept = path.read_bytes()
    Image.open(path).save(path, compress_level=0)
    changed = digest()
    assert changed != before
    path.write_bytes(b"no picture")
    unreadable = digest()
    assert unreadable != before
    # An image that could not be read may be repaired; one that was read may not change.
    assert same_images(unreadable, before)
    assert not same_images(changed, before)
    path.unlink()
    path.write_bytes(kept)
    assert digest() == before


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
