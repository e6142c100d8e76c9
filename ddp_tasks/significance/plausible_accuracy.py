"""Whether a network recognises the images of a run as well as it should.

A wrong normalisation, another order of the classes or weights that were never trained spoil every
finding without an error. Accuracy gives them away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Level of the tests: of a hundred sound runs, one may be doubted at most.
_LEVEL = 0.01

#: Points of percentage below the stated accuracy that are nothing to warn of.
_TOLERATED = 5.0


@dataclass(frozen=True)
class Accuracy:
    """How many of a run's images a network classifies correctly, beside what to expect."""

    correct: int
    images: int
    chance: float
    """share that the same answers would get if they did not depend on the images."""
    stated: float | None = None
    """percent, as the run states it."""

    @property
    def percent(self) -> float:
        """Percentage of the images that are classified correctly; NaN without images."""
        return 100 * self.correct / self.images if self.images else float("nan")

    @property
    def implausible(self) -> str:
        """Why the accuracy is not to be believed, in words; empty if nothing is wrong with it.

        It is near chance if a binomial test does not find it better, and another finds it below
        the middle between chance and 100 %, so that a few images of a sound network raise no
        doubt. It is far below the stated accuracy if it is more than 5 points lower, and a test
        finds it lower.
        """
        if not self.images:
            return ""
        if not self._better_than(self.chance) and self._worse_than((1 + self.chance) / 2):
            return f"no better than chance ({self.chance:.1%})"
        stated = self.stated
        if stated is None or self.percent >= stated - _TOLERATED:
            return ""
        if self._worse_than(stated / 100):
            return f"far below the {stated:g} % that model.accuracy states"
        return ""

    def _better_than(self, share: float) -> bool:
        """Whether so many correct images are improbable where a share of them is expected."""
        return _probability(self.images - self.correct, self.images, 1 - share) < _LEVEL

    def _worse_than(self, share: float) -> bool:
        """Whether so few correct images are improbable where a share of them is expected."""
        return _probability(self.correct, self.images, share) < _LEVEL

    def warning(self, of: str = "the run") -> str:
        """What a person must be told, as a sentence; empty if the accuracy is plausible.

        Parameters
        ----------
        of
            what the images are, such as "a sample of the run".
        """
        if not (why := self.implausible):
            return ""
        number = f"{self.images:,} image{'' if self.images == 1 else 's'}"
        return (
            f"IMPLAUSIBLE ACCURACY: the network classifies {self.percent:.1f} % of {number} of "
            f"{of} correctly, {why}. Its findings are then not about recognising these classes. "
            "Check images.transform (mean, std, resize), model.weights and the order of the "
            "classes"
        )


def measured_accuracy(
    predicted: npt.NDArray[np.int64],
    target: npt.NDArray[np.int64],
    classes: int,
    stated: float | None = None,
) -> Accuracy:
    """Compare a network's answers with the labels, and with chance.

    Chance is the agreement that Cohen's kappa expects: Σ_c P(answer c) · P(label c). A network
    that always gives one answer gets exactly that, however many images the classes have.

    Parameters
    ----------
    predicted
        shape (n,); class numbers, -1 for none of the classes.
    target
        shape (n,); class numbers.
    classes
        number of classes of the run; where all images are of one class, chance is 1 / classes.
    stated
        percent, as ``model.accuracy`` gives it.

    References
    ----------
    Cohen 1960, A coefficient of agreement for nominal scales, Educational and Psychological
    Measurement 20.
    """
    images = len(target)
    labels = np.bincount(target, minlength=classes)
    answers = np.bincount(predicted[predicted >= 0], minlength=len(labels))[: len(labels)]
    chance = float(labels @ answers) / images**2 if images else 0.0
    if np.count_nonzero(labels) == 1:
        chance = 1 / max(classes, 1)
    return Accuracy(int((predicted == target).sum()), images, chance, stated)


def _probability(most: int, images: int, share: float) -> float:
    """Probability of at most so many successes among images, each with a probability of share."""
    # Imported here: commands that only read tables take twice as long with it.
    from scipy.special import bdtr

    return float(bdtr(most, images, share))
