"""Images of a run small enough to be embedded in a page, and as a HoloViews element."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
from PIL import Image

from ddp_tasks.figures.elements import element

_LARGEST = 64
_SMALLEST = 40
#: Greatest side of a picture that is enlarged and kept losslessly: of such few pixels each counts.
_LOSSLESS = 16


@dataclass(frozen=True)
class Thumbnail:
    """A picture as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


class Thumbnails(Mapping[str, Thumbnail]):
    """Thumbnails of pictures by image id, each made once, when asked for.

    Parameters
    ----------
    pictures
        by image id, shape (m, n, 3); those that the run's store keeps.
    largest, smallest
        as in ``thumbnail``.
    """

    def __init__(
        self,
        pictures: Mapping[str, npt.NDArray[np.uint8]],
        largest: int = _LARGEST,
        smallest: int = _SMALLEST,
    ) -> None:
        self._pictures, self._sides = pictures, (largest, smallest)
        self._number = {image: number for number, image in enumerate(pictures)}
        self._made: dict[str, Thumbnail] = {}

    def __getitem__(self, image: str) -> Thumbnail:
        """The thumbnail of one image; a grey square if there is no picture of it."""
        if image not in self._pictures:
            return _nothing()
        if image not in self._made:
            self._made[image] = thumbnail(self._pictures[image], *self._sides)
        return self._made[image]

    def number(self, image: str) -> int:
        """A number of the image's picture; -1 if there is none."""
        return self._number.get(image, -1)

    def __iter__(self) -> Iterator[str]:
        return iter(self._pictures)

    def __len__(self) -> int:
        return len(self._pictures)


@cache
def _nothing() -> Thumbnail:
    return thumbnail(np.full((_SMALLEST, _SMALLEST, 3), 200, dtype=np.uint8))


class NumberedThumbnails(Mapping[str, Thumbnail]):
    """Thumbnails that figures hold as numbers; the page has a table of the pictures.

    So a page holds a picture once, although many of its figures show it.
    """

    def __init__(self, thumbnails: Thumbnails) -> None:
        self._thumbnails = thumbnails
        self.used: dict[str, str] = {}
        """pictures used so far, as data URIs by number."""

    def __getitem__(self, image: str) -> Thumbnail:
        """As in ``Thumbnails``, with a number in place of the data URI."""
        whole, number = self._thumbnails[image], str(self._thumbnails.number(image))
        return self.numbered(number, whole)

    def number(self, image: str) -> int:
        """As in ``Thumbnails``."""
        return self._thumbnails.number(image)

    def numbered(self, name: str, whole: Thumbnail) -> Thumbnail:
        """Any other picture, kept in the page's table under a name of its own."""
        self.used[name] = whole.uri
        return replace(whole, uri=name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._thumbnails)

    def __len__(self) -> int:
        return len(self._thumbnails)


def thumbnail(
    picture: npt.NDArray[np.uint8], largest: int = _LARGEST, smallest: int = _SMALLEST
) -> Thumbnail:
    """A picture scaled to at most ``largest`` pixels a side.

    Pictures of few pixels are enlarged by a whole factor and kept losslessly as PNG; others are
    kept as WebP, a third to a fifth of the size. Pages draw small ones with square, sharp pixels.

    Parameters
    ----------
    picture
        shape (m, n, 3).
    smallest
        least longer side, in pixels, that a small picture is enlarged to.
    """
    image = Image.fromarray(picture)
    longest = max(image.size)
    if longest > min(largest, _LOSSLESS):
        image.thumbnail((largest, largest), Image.Resampling.LANCZOS)
        kind, options = "webp", {"quality": 80}
    else:
        factor = -(-smallest // longest)
        image = image.resize(
            (image.width * factor, image.height * factor), Image.Resampling.NEAREST
        )
        kind, options = "png", {}
    file = io.BytesIO()
    image.save(file, kind, **options)
    encoded = base64.b64encode(file.getvalue()).decode("ascii")
    return Thumbnail(f"data:image/{kind};base64,{encoded}", image.width, image.height)


def pictures(
    thumbnails: Sequence[Thumbnail],
    left: npt.NDArray[Any],
    bottom: npt.NDArray[Any],
    side: float,
    tooltips: Mapping[str, Sequence[Any]],
    *,
    group: str = "Pictures",
) -> hv.Rectangles:
    """Pictures at places of a figure whose units are pixels, each fitted into a square.

    Parameters
    ----------
    left, bottom
        shape (picture,); lower left corners of the squares.
    side
        of the squares, in pixels.
    tooltips
        what hovering over a picture shows, by label; one value for each picture. Without any,
        nothing is shown.
    """
    scale = [side / max(t.width, t.height) for t in thumbnails]
    width = np.array([t.width * s for t, s in zip(thumbnails, scale, strict=True)])
    height = np.array([t.height * s for t, s in zip(thumbnails, scale, strict=True)])
    x = left + (side - width) / 2
    y = bottom + (side - height) / 2
    columns = {"picture": [t.uri for t in thumbnails], "wide": width, "high": height, **tooltips}
    shown = [(name, f"@{{{name}}}") for name in tooltips]
    hovered: dict[str, Any] = {"tools": ["hover"], "hover_tooltips": shown}
    data = {"x0": x, "y0": y, "x1": x + width, "y1": y + height, **columns}
    return element(
        hv.Rectangles,
        data,
        4,
        group=group,
        fill_alpha=0,
        line_alpha=0,
        hooks=[draw_pictures],
        **(hovered if tooltips else {}),
    )


def draw_pictures(plot: Any, element: Any) -> None:
    """Draw the pictures of rectangles, as a hook: HoloViews has no element for pictures."""
    plot.state.image_url(
        url="picture",
        x="left",
        y="bottom",
        w="wide",
        h="high",
        anchor="bottom_left",
        source=plot.handles["source"],
    )
