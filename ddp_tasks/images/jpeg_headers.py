"""What the header of a JPEG file says that matters for who may decode it."""

from __future__ import annotations

from collections.abc import Iterator

#: Frames that NVIDIA's and the processor's decoders both take: baseline, extended, progressive.
_FRAMES = (0xC0, 0xC1, 0xC2)
#: Markers that begin other kinds of frames: lossless, hierarchical, arithmetic coding.
_OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
#: Markers without a length.
_ALONE = (0x01, *range(0xD0, 0xD8))
_ADOBE, _SCAN, _FILL = 0xEE, 0xDA, 0xFF
_BEGINNING, _END = b"\xff\xd8", b"\xff\xd9"
_BITS, _COMPONENTS = 8, 3


def is_plain_jpeg(file: bytes) -> bool:
    """Whether a file is a whole JPEG file of three components of 8 bits: luma and two chromas.

    Decoders differ in what they make of others: grey and CMYK, colours stored as red, green and
    blue (Adobe's marker says so), and files that end early, which some fill up with grey.

    Parameters
    ----------
    file
        its bytes.
    """
    if not (file.startswith(_BEGINNING) and file.endswith(_END)):
        return False
    segments = list(_segments(file))
    markers = [marker for marker, _ in segments]
    frames = [segment for marker, segment in segments if marker in _FRAMES]
    return (
        markers[-1:] == [_SCAN]
        and not set(markers) & set(_OTHER_FRAMES)
        and len(frames) == 1
        and _has_luma_and_chromas(frames[0])
        and not any(marker == _ADOBE and _says_rgb(segment) for marker, segment in segments)
    )


def _segments(file: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers with what follows them, up to the first scan or to what is no segment."""
    place = len(_BEGINNING)
    while place + 4 <= len(file) and file[place] == _FILL:
        marker = file[place + 1]
        if marker == _FILL or marker in _ALONE:
            place += 1 if marker == _FILL else 2
            continue
        end = place + 2 + int.from_bytes(file[place + 2 : place + 4], "big")
        yield marker, file[place + 4 : end]
        if marker == _SCAN:
            return
        place = end


def _has_luma_and_chromas(frame: bytes) -> bool:
    # Bits of a component, height and width in two bytes each, number of components; then each
    # with its name and two bytes more. Those that are named R, G and B are what they say.
    names = frame[6::3][:_COMPONENTS]
    return frame[:1] == bytes([_BITS]) and frame[5:6] == bytes([_COMPONENTS]) and names != b"RGB"


def _says_rgb(adobe: bytes) -> bool:
    return adobe[:5] == b"Adobe" and adobe[11:12] == b"\x00"
