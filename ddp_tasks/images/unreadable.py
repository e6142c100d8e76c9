"""Images that cannot be read: how many a run bears, and how it tells of them."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.parameters import RunError

_NAMED = 5


class Unreadable:
    """A tally of a run's unreadable images, held against the share that the run allows.

    Parameters
    ----------
    share
        of the images that may be unreadable, the run's ``images.unreadable``.
    images
        of the run.
    """

    def __init__(self, share: float, images: int) -> None:
        self._share, self._images = share, images
        self._reasons: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._reasons)

    @property
    def allowed(self) -> int:
        """How many images may be unreadable."""
        # The slack is for shares such as 0.29, whose product with 100 comes out below 29.
        return int(self._share * self._images * (1 + 1e-12))

    def add(self, reasons: Mapping[str, str]) -> None:
        """Count images, given by id with the reason why they cannot be read.

        Raises
        ------
        RunError
            If there are now more than allowed, naming how many, the limit and the first of them.
        """
        self._reasons |= reasons
        if len(self._reasons) > self.allowed:
            raise RunError(
                f"{self.told()}. That is more than images.unreadable = {self._share:g} of the "
                f"run's {self._images:,} images allows, {self.allowed:,}: repair them, or allow "
                "a greater share",
                change=("images.unreadable",),
            )

    def told(self) -> str:
        """How many images cannot be read, and which are the first of them."""
        return told(self._reasons)


def told(reasons: Mapping[str, str], named: int = _NAMED) -> str:
    """One sentence without its full stop: how many images cannot be read, the first by name.

    Parameters
    ----------
    reasons
        by id.
    named
        how many are named.
    """
    count = len(reasons)
    first = "; ".join(f"{image} ({reasons[image]})" for image in sorted(reasons)[:named])
    more = f"; and {count - named:,} more" if count > named else ""
    return f"{count:,} image{'' if count == 1 else 's'} cannot be read: {first}{more}"
