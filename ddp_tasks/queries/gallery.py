"""Small pictures of a run's images as a notebook shows them: one, or several with captions."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Shaped

#: Pixels that the longer side of a picture has at least: tiny pictures are enlarged by squares.
_LEAST_SIDE = 72
#: Pixels that a picture alone has at most.
_MOST_SIDE = 512


@dataclass(frozen=True)
class Picture:
    """One picture, with a caption."""

    pixels: Shaped[npt.NDArray[np.uint8], "m n 3"]
    caption: str = ""

    def _repr_png_(self) -> bytes:
        return self.png()

    def png(self, largest: int = _MOST_SIDE) -> bytes:
        """The picture as PNG, of 72 pixels at least on its longer side.

        Parameters
        ----------
        largest
            pixels that a larger picture is reduced to.
        """
        from PIL import Image

        image = Image.fromarray(self.pixels)
        image.thumbnail((largest, largest), Image.Resampling.LANCZOS)
        factor = -(-_LEAST_SIDE // max(image.size))
        if factor > 1:
            size = (image.width * factor, image.height * factor)
            image = image.resize(size, Image.Resampling.NEAREST)
        file = io.BytesIO()
        image.save(file, "png", optimize=True)
        return file.getvalue()

    def html(self, height: int = _LEAST_SIDE) -> str:
        """The picture and its caption as one element of a page, with no script.

        Parameters
        ----------
        height
            in pixels of the page.
        """
        text = html.escape(self.caption)
        # Twice as many pixels as shown, for fine screens.
        encoded = base64.b64encode(self.png(2 * height)).decode()
        return (
            '<figure style="display:inline-block;margin:0 6px 6px 0;text-align:center;'
            'vertical-align:top;max-width:160px">'
            # The class keeps dark themes of Sphinx from laying a card under the picture.
            f'<img class="dark-light" alt="{text}" src="data:image/png;base64,{encoded}" '
            f'style="height:{height}px;image-rendering:pixelated;display:inline-block;margin:0">'
            f'<figcaption style="color:inherit;font-size:11px;line-height:1.3;'
            f'overflow-wrap:anywhere">{text}'
            "</figcaption></figure>"
        )


@dataclass(frozen=True)
class Gallery:
    """Pictures in a row, which a notebook shows with their captions."""

    pictures: tuple[Picture, ...]
    title: str = ""

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, place: int) -> Picture:
        return self.pictures[place]

    def __repr__(self) -> str:
        """Title and captions, where no pictures can be shown."""
        captions = "; ".join(picture.caption for picture in self.pictures)
        return f"{self.title or 'pictures'}: {captions}"

    def _repr_html_(self) -> str:
        title = f"<p><b>{html.escape(self.title)}</b></p>" if self.title else ""
        return f"<div>{title}{row(self.pictures)}</div>"


def row(pictures: Sequence[Picture], height: int = _LEAST_SIDE) -> str:
    """Pictures beside one another, as HTML.

    Parameters
    ----------
    height
        of each, in pixels of the page.
    """
    return f"<div>{''.join(picture.html(height) for picture in pictures)}</div>"
