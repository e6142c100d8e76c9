"""What pictures become on their way to the network, against torchvision's own transforms."""

import io

import numpy as np
import pytest
import torch
from image_sets import photograph
from PIL import Image
from torchvision import transforms
from torchvision.transforms.v2 import functional

from ddp_tasks.images.pictures import decoded, fitted, stacked, standardised
from schemas.parameters import TransformParameters

CPU = torch.device("cpu")


def encoded(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


def by_pil(file):
    return functional.pil_to_tensor(Image.open(io.BytesIO(file.numpy().tobytes())).convert("RGB"))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *[("JPEG", mode) for mode in ("RGB", "L", "CMYK", "1")],
        *[("PNG", mode) for mode in ("RGB", "L", "P", "RGBA", "LA", "1")],
        *[("WEBP", mode) for mode in ("RGB", "L", "RGBA")],
    ],
)
def test_pictures_are_decoded_as_pil_decodes_them(kind, mode):
    file = encoded(photograph().convert(mode), kind)
    (picture,) = decoded([file], CPU)
    # Both bring libjpeg-turbo, libpng and libwebp. Of two releases of libjpeg-turbo the inverse
    # transform may round otherwise: one level is allowed, and none was seen on x86-64.
    difference = (picture.int() - by_pil(file).int()).abs().max()
    assert difference <= (1 if kind == "JPEG" else 0)


def test_progressive_and_subsampled_jpeg():
    for options in ({"progressive": True}, {"subsampling": 0}, {"subsampling": 2, "quality": 30}):
        file = encoded(photograph(), "JPEG", **options)
        (picture,) = decoded([file], CPU)
        assert (picture.int() - by_pil(file).int()).abs().max() <= 1


def test_what_torchvision_does_not_decode_is_none():
    whole = encoded(photograph(), "JPEG")
    deep = encoded(Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16)), "PNG")
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    files = [whole[:-100], whole[:2], whole[:0], encoded(photograph(), "BMP"), deep, moving, whole]
    assert [picture is None for picture in decoded(files, CPU)] == [True] * 6 + [False]


@pytest.mark.parametrize(
    ("size", "transform"),
    [
        ((300, 200), {"resize": 64, "crop": 56}),
        ((200, 300), {"resize": 64, "crop": 56}),
        ((300, 200), {"resize": 64, "crop": 56, "interpolation": "bicubic"}),
        ((40, 30), {"resize": 64, "crop": 64, "interpolation": "bicubic"}),
        ((40, 30), {"resize": 64, "crop": 64}),
        ((60, 60), {"resize": 64}),
        ((57, 43), {"crop": 32}),
        ((20, 20), {"crop": 32}),
    ],
)
def test_size_and_place_are_those_of_torchvision_on_pil(size, transform):
    picture = photograph(*size)
    way = transforms.InterpolationMode(transform.get("interpolation", "bilinear"))
    steps = [transforms.Resize(transform["resize"], way)] if "resize" in transform else []
    steps += [transforms.CenterCrop(transform["crop"])] if "crop" in transform else []
    expected = functional.pil_to_tensor(transforms.Compose(steps)(picture))
    found = fitted(functional.pil_to_tensor(picture), TransformParameters(**transform))
    assert found.shape == expected.shape
    # torch and PIL both resize uint8 in fixed point; they differ by one level of 255 at most.
    assert (found.int() - expected.int()).abs().max() <= 1


def test_a_block_is_fitted_as_its_pictures_are():
    pictures = [functional.pil_to_tensor(photograph(60, 40, seed)) for seed in range(3)]
    transform = TransformParameters(resize=20, crop=16)
    one_by_one = torch.stack([fitted(picture, transform) for picture in pictures])
    assert torch.equal(fitted(torch.stack(pictures), transform), one_by_one)
    assert torch.equal(stacked(list(one_by_one), CPU), one_by_one)
    assert stacked(list(one_by_one), CPU).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_standardised_is_less_the_mean_over_the_standard_deviation(layout):
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    pixels = torch.arange(256, dtype=torch.uint8).repeat(2, 3, 1).reshape(2, 3, 16, 16)
    pixels = pixels.contiguous(memory_format=layout)
    expected = pixels.double() / 255
    expected = (expected - torch.tensor(mean).double()[:, None, None]) / torch.tensor(std).double()[
        :, None, None
    ]
    transform = TransformParameters(mean=mean, std=std)
    found = standardised(pixels, transform, None)
    # float32 rounds the factor, the product and the sum: 3 times 6e-8 of values up to 4.5.
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)
    assert found.is_contiguous(memory_format=layout)
    memory = torch.empty_like(found)
    assert standardised(pixels, transform, memory).data_ptr() == memory.data_ptr()
    assert torch.equal(memory, found)


def test_without_mean_and_deviation_pictures_end_between_0_and_1():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    found = standardised(pixels, TransformParameters(), None)
    torch.testing.assert_close(found.flatten(), torch.tensor([0, 0.2, 1]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_decodes_what_the_processor_decodes():
    files = [encoded(photograph(seed=seed), "JPEG", quality=95) for seed in range(3)]
    files += [
        encoded(photograph(), "PNG"),
        files[0][:-100],
        encoded(photograph().convert("L"), "JPEG"),
    ]
    there, here = decoded(files, torch.device("cuda")), decoded(files, CPU)
    assert [p is None for p in there] == [p is None for p in here] == [*[False] * 4, True, False]
    # Those of luma and two chromas; what a GPU may not decode ends as it does without one.
    assert [p is not None and p.is_cuda for p in there] == [*[True] * 3, *[False] * 3]
    for on_gpu, on_processor in zip(there, here, strict=True):
        if on_gpu is not None:
            # nvJPEG interpolates the colour channels otherwise; on average that is little.
            assert (on_gpu.cpu().float() - on_processor.float()).abs().mean() < 2
    # A picture does not depend on the files beside it, a damaged one among them.
    (alone,) = decoded(files[:1], torch.device("cuda"))
    assert torch.equal(alone, there[0])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_the_processor_decodes_what_no_gpu_takes():
    files = [encoded(photograph(seed=1), "JPEG"), encoded(photograph(), "PNG"), b"no picture"]
    files = [file if isinstance(file, torch.Tensor) else torch.tensor(list(file)) for file in files]
    files[2] = files[2].to(torch.uint8)
    asked, here = decoded(files, torch.device("cuda")), decoded(files, CPU)
    assert [picture is None for picture in asked] == [False, False, True]
    assert all(torch.equal(a, b) for a, b in zip(asked[:2], here[:2], strict=True))
