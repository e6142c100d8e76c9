"""Association of the capacity metric α̂ with test accuracy over a list of models (figure 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import stats

from ddp_tasks.capacity.tables import signed, texts

Floats = npt.NDArray[np.float64]

#: Both readings of Eq. 12, by their names in the group ``zoo``.
MEASURES: Mapping[str, str] = {
    "alpha_hat": "α̂, sum over layers",
    "alpha_hat_mean": "α̂, mean over layers",
}

#: Coefficients and fits need this many models: two always lie on a line.
_FEWEST_MODELS = 3


@dataclass(frozen=True)
class Association:
    """How α̂ and test accuracy are associated over some models; NaN where undefined."""

    models: int
    slope: float
    """percentage points of accuracy for each unit of α̂."""
    intercept: float
    pearson: float
    spearman: float
    kendall: float

    @property
    def fitted(self) -> bool:
        """Whether there is a line."""
        return isfinite(self.slope)

    @property
    def correlated(self) -> bool:
        """Whether there are coefficients."""
        return isfinite(self.pearson)

    def coefficients(self) -> str:
        """Pearson, Spearman and Kendall in words, with the number of models."""
        if not self.correlated:
            few = self.models < _FEWEST_MODELS
            return f"n = {self.models}: " + ("too few to correlate" if few else "no correlation")
        coefficients = {"Pearson": self.pearson, "Spearman": self.spearman, "Kendall": self.kendall}
        sentence = ", ".join(f"{name} {signed(r)}" for name, r in coefficients.items())
        return f"{sentence}, n = {self.models}"


def association(alpha_hat: Floats, accuracy: Floats) -> Association:
    """Least-squares line of accuracy on α̂ and the coefficients of correlation.

    Parameters
    ----------
    alpha_hat, accuracy
        shape (models,), finite.

    Returns
    -------
    all NaN below 3 models or where α̂ does not vary; without coefficients of correlation where
    only accuracy does not vary.
    """
    models = len(alpha_hat)
    if models < _FEWEST_MODELS or _constant(alpha_hat):
        return Association(models, nan, nan, nan, nan, nan)
    slope, intercept = (float(c) for c in np.polyfit(alpha_hat, accuracy, 1))
    if _constant(accuracy):
        return Association(models, slope, intercept, nan, nan, nan)
    return Association(
        models,
        slope,
        intercept,
        pearson=float(stats.pearsonr(alpha_hat, accuracy).statistic),
        spearman=float(stats.spearmanr(alpha_hat, accuracy).statistic),
        kendall=float(stats.kendalltau(alpha_hat, accuracy).statistic),
    )


def models_shown(zoo: xr.Dataset, matrization: str, measure: str) -> npt.NDArray[np.bool_]:
    """Which models figure 4 shows: those that did not fail, with both figures finite.

    Returns
    -------
    shape (model,)
    """
    value = zoo[measure].sel(matrization=matrization).to_numpy()
    failed = np.array([bool(error) for error in texts(zoo["error"])], dtype=bool)
    return np.asarray(np.isfinite(value) & np.isfinite(zoo["accuracy"].to_numpy()) & ~failed)


def associations(zoo: xr.Dataset, matrization: str, measure: str) -> dict[str, Association]:
    """``association`` by family, in order of appearance, and last that of all models, as "".

    Families without a drawn model are included, with no models.
    """
    x = zoo[measure].sel(matrization=matrization).to_numpy().astype(np.float64)
    y = zoo["accuracy"].to_numpy().astype(np.float64)
    family = np.array(texts(zoo["family"]), dtype=object)
    shown = models_shown(zoo, matrization, measure)
    by_family = {
        name: association(x[shown & (family == name)], y[shown & (family == name)])
        for name in dict.fromkeys(family)
    }
    return {**by_family, "": association(x[shown], y[shown])}


def _constant(values: Floats) -> bool:
    """Whether the values differ by no more than rounding."""
    return float(np.ptp(values)) <= 1e-9 * float(np.abs(values).max())
