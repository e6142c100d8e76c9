"""Which JPEG files a GPU may decode: whole ones of luma and two chromas."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_sets import photograph

from ddp_tasks.images.jpeg_headers import is_plain_jpeg


def jpeg(picture, **options):
    file = io.BytesIO()
    picture.save(file, "JPEG", **options)
    return file.getvalue()


def with_adobe(file, transform):
    """The file with Adobe's marker, which says what the components are."""
    marker = b"\xff\xee\x00\x0eAdobe\x00\x64" + bytes(4) + bytes([transform])
    return file[:2] + marker + file[2:]


PLAIN = jpeg(photograph())


@pytest.mark.parametrize(
    "file",
    [
        PLAIN,
        jpeg(photograph(), progressive=True),
        jpeg(photograph(), subsampling=0, quality=100),
        jpeg(photograph(), exif=b"Exif\x00\x00" + bytes(3000)),
        jpeg(photograph(), comment=b"\xff\xc3\xff\xd9"),
        PLAIN[:2] + b"\xff\xff" + PLAIN[2:],
        with_adobe(PLAIN, 1),
    ],
)
def test_whole_files_of_luma_and_chromas_are_plain(file):
    assert is_plain_jpeg(file)


@pytest.mark.parametrize(
    "file",
    [
        jpeg(photograph().convert("L")),
        jpeg(photograph().convert("CMYK")),
        jpeg(photograph(), keep_rgb=True),
        with_adobe(PLAIN, 0),
        PLAIN[:-2],
        PLAIN[:-100] + b"\x00\x00",
        PLAIN + b"\x00",
        PLAIN.replace(b"\xff\xc0", b"\xff\xc3", 1),
        PLAIN.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c", 1),
        b"\xff\xd8\xff\xd9",
        b"",
        b"\x89PNG\r\n\x1a\n\xff\xd9",
    ],
)
def test_others_are_not(file):
    assert not is_plain_jpeg(file)


@given(st.binary(max_size=64), st.integers(2, 700))
def test_no_bytes_fail(rubbish, kept):
    assert not is_plain_jpeg(b"\xff\xd8" + rubbish)
    assert not is_plain_jpeg(PLAIN[: min(kept, len(PLAIN) - 1)])
    is_plain_jpeg(PLAIN[:kept] + rubbish + b"\xff\xd9")
