"""Pictures of images as addresses: a browser asks for each once, when it is seen."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

from ddp_tasks.figures.thumbnails import Thumbnail

#: Greatest side of a picture that is sent as it is, pixel by pixel.
_LOSSLESS = 64
#: What stands in the place of an image that the store keeps no picture of.
NO_PICTURE = "none.png"


class LinkedPictures(Mapping[str, Thumbnail]):
    """Stored pictures by image id, as addresses that begin with ``place``."""

    def __init__(self, pictures: Mapping[str, npt.NDArray[np.uint8]], place: str) -> None:
        self._pictures, self._place = pictures, place
        self._number = {image: number for number, image in enumerate(pictures)}

    def __getitem__(self, image: str) -> Thumbnail:
        """The address of an image's picture, and its size."""
        if image not in self._number:
            return Thumbnail(f"{self._place}/{NO_PICTURE}", 32, 32)
        high, wide = self._pictures[image].shape[:2]
        kind = "png" if max(high, wide) <= _LOSSLESS else "webp"
        return Thumbnail(f"{self._place}/{self._number[image]}.{kind}", wide, high)

    def __contains__(self, image: object) -> bool:
        return image in self._number

    def __iter__(self) -> Iterator[str]:
        return iter(self._pictures)

    def __len__(self) -> int:
        return len(self._pictures)

    def file(self, name: str) -> bytes:
        """The file at the end of an address.

        Raises
        ------
        KeyError
            If there is no such picture.
        """
        if name == NO_PICTURE:
            return _encoded(np.full((8, 8, 3), 190, dtype=np.uint8), "png")
        number, _, kind = name.partition(".")
        by_number = list(self._pictures)
        if not number.isdecimal() or int(number) >= len(by_number) or kind not in ("png", "webp"):
            raise KeyError(name)
        return _encoded(self._pictures[by_number[int(number)]], kind)


def _encoded(picture: npt.NDArray[np.uint8], kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **({"quality": 85} if kind == "webp" else {}))
    return file.getvalue()
