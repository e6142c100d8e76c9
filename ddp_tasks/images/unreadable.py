"""Unreadable images: how many of them a run tolerates, and how they are reported."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.parameters import RunError

_NAMED = 5


class Unreadable:
    """A tally of a run's unreadable images, compared with the share that the run allows.

    Parameters
    ----------
    share
        of the images that may be unreadable: the run's ``images.unreadable``.
    images
        number of images of the run.
    """

    def __init__(self, share: float, images: int) -> None:
        self._share, self._images = share, images
        self._reasons: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._reasons)

    @property
    def allowed(self) -> int:
        """Number of images that may be unreadable."""
        # The slack is for shares such as 0.29, whose product with 100 is slightly below 29.
        return int(self._share * self._images * (1 + 1e-12))

    def add(self, reasons: Mapping[str, str]) -> None:
        """Add unreadable images to the tally, given as reasons by id.

        Raises
        ------
        RunError
            If there are now more than allowed, naming their number, the limit and the first ones.
        """
        self._reasons |= reasons
        if len(self._reasons) > self.allowed:
            raise RunError(
                f"{self.sentence()}. That is more than images.unreadable = {self._share:g} of the "
                f"run's {self._images:,} images allows, {self.allowed:,}: repair them, or allow "
                "a greater share",
                change=("images.unreadable",),
            )

    def sentence(self) -> str:
        """The number of unreadable images and the first of them, in words."""
        return unreadable_sentence(self._reasons)


def unreadable_sentence(reasons: Mapping[str, str], named: int = _NAMED) -> str:
    """A sentence without full stop: the number of unreadable images, the first with reasons.

    Parameters
    ----------
    reasons
        by id.
    named
        number of images to name.
    """
    count = len(reasons)
    first = "; ".join(f"{image} ({reasons[image]})" for image in sorted(reasons)[:named])
    more = f"; and {count - named:,} more" if count > named else ""
    return f"{count:,} image{'' if count == 1 else 's'} cannot be read: {first}{more}"
