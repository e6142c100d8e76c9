"""Tables of the capacity metric α̂ over a list of models, as figures and the page print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log, nan

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import stats

Floats = npt.NDArray[np.float64]

MATRIZATIONS: Mapping[str, str] = {
    "unfolded": "W̄₁",
    "toeplitz": "W̄₂",
    "slices": "slices",
}
MATRIZATION_MEANINGS: Mapping[str, str] = {
    "unfolded": "the unfolded weight, d × c·k·k (Eq. 8): one row a filter",
    "toeplitz": "the Toeplitz matrization, d·n² × c·m² (Eq. 11): one row a filter at a position",
    "slices": "the k × k channels of the kernels one by one, their singular values together "
    "(Martin et al. 2021)",
}
#: Both readings of Eq. 12, by their names in the group ``zoo``.
MEASURES: Mapping[str, str] = {
    "alpha_hat": "α̂, sum over layers",
    "alpha_hat_mean": "α̂, mean over layers",
}
#: Columns of the unfolded weight alone, in the order of the table.
CUSTOMARY = (
    *("matrix_rank", "log_norm", "log_spectral_norm", "weighted_alpha"),
    *("stable_rank", "bulk_edge", "spikes"),
)
_COUNTS = {"matrix_rank", "spikes"}
#: The definition of every column that the page shows.
DEFINITIONS: Mapping[str, str] = {
    "singular values": "number of singular values s of the matrix; λ = s² are the eigenvalues of "
    "its Gram matrix.",
    "α": "exponent of the power law p(λ) ∝ λ^(−α) that the eigenvalues λ = s² of W̄W̄ᵀ follow "
    "from xmin up, by maximum likelihood, ± its standard error.",
    "xmin": "least eigenvalue that the power law covers.",
    "tail": "number of eigenvalues at or above xmin.",
    "D": "Kolmogorov–Smirnov distance between the eigenvalues from xmin up and the power law.",
    "λmax": "greatest eigenvalue, the squared spectral norm.",
    "α·ln λmax": "the layer's term of Eq. 12; natural logarithm.",
    "matrix_rank": "number of singular values that are not zero to rounding.",
    "log_norm": "base-10 logarithm of the squared Frobenius norm, the sum of λ.",
    "log_spectral_norm": "base-10 logarithm of the squared spectral norm, log₁₀ λmax.",
    "weighted_alpha": "α·log₁₀ λmax: the term of Eq. 12 with the base-10 logarithm.",
    "stable_rank": "squared Frobenius norm over squared spectral norm, the sum of λ over λmax.",
    "bulk_edge": "upper edge of the Marchenko–Pastur bulk: the greatest eigenvalue to expect of a "
    "random matrix of this shape whose entries have the variance of the weight's.",
    "spikes": "number of eigenvalues above bulk_edge.",
}

#: Two models lie on a line always; coefficients and fits start here.
_FEWEST_MODELS = 3
_NONE = "—"


@dataclass(frozen=True)
class Association:
    """How α̂ and test accuracy go together over some models; NaN where that is undefined."""

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
        found = {"Pearson": self.pearson, "Spearman": self.spearman, "Kendall": self.kendall}
        told = ", ".join(f"{name} {signed(r)}" for name, r in found.items())
        return f"{told}, n = {self.models}"


def association(alpha_hat: Floats, accuracy: Floats) -> Association:
    """Least-squares line of accuracy on α̂ and the coefficients of correlation.

    Parameters
    ----------
    alpha_hat, accuracy
        shape (models,), finite.

    Returns
    -------
    NaN throughout below 3 models or where α̂ does not vary; without a correlation where only
    accuracy does not vary.
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


def drawn(zoo: xr.Dataset, matrization: str, measure: str) -> npt.NDArray[np.bool_]:
    """Which models figure 4 shows: those that did not fail, with both figures finite.

    Returns
    -------
    shape (model,)
    """
    value = zoo[measure].sel(matrization=matrization).to_numpy()
    failed = np.array([bool(error) for error in texts(zoo["error"])], dtype=bool)
    return np.asarray(np.isfinite(value) & np.isfinite(zoo["accuracy"].to_numpy()) & ~failed)


def associations(zoo: xr.Dataset, matrization: str, measure: str) -> dict[str, Association]:
    """``association`` of each family, in order of appearance, and last of all models, as "".

    Families of which no model is drawn are there too, with no models.
    """
    x = zoo[measure].sel(matrization=matrization).to_numpy().astype(np.float64)
    y = zoo["accuracy"].to_numpy().astype(np.float64)
    family, shown = np.array(texts(zoo["family"]), dtype=object), drawn(zoo, matrization, measure)
    found = {
        name: association(x[shown & (family == name)], y[shown & (family == name)])
        for name in dict.fromkeys(family)
    }
    return {**found, "": association(x[shown], y[shown])}


@dataclass(frozen=True)
class ModelRow:
    """One model as the page prints it; α̂ by matrization."""

    model: str
    family: str
    layers: str
    accuracy: str
    total: Mapping[str, str]
    mean: Mapping[str, str]
    left_out: str
    """which layers Eq. 12 knows nothing of, since they have no power law."""
    error: str


def model_rows(zoo: xr.Dataset, capacity: Mapping[str, xr.Dataset]) -> list[ModelRow]:
    """The models as they come, those that failed last.

    Parameters
    ----------
    capacity
        layers of each model, as ``layer_rows`` takes them; a model may be missing.
    """
    rows = []
    for model in texts(zoo["model"]):
        row = zoo.sel(model=model)
        error = str(row["error"].item())
        rows.append(
            ModelRow(
                model=model,
                family=str(row["family"].item()),
                layers=_NONE if error else f"{int(row['layers']):,}",
                accuracy=_figure(float(row["accuracy"]), ".2f"),
                total=_by_matrization(row["alpha_hat"]),
                mean=_by_matrization(row["alpha_hat_mean"]),
                left_out=_left_out(capacity[model]) if model in capacity else "",
                error=error,
            )
        )
    return sorted(rows, key=lambda row: bool(row.error))


@dataclass(frozen=True)
class LayerFit:
    """One layer under one matrization as the page prints it."""

    count: str
    alpha: str
    xmin: str
    tail: str
    D: str
    lambda_max: str
    term: str
    refused: str
    """why there is no power law; empty where there is one."""


@dataclass(frozen=True)
class LayerRow:
    """One row of figure 3b and of the customary columns."""

    layer: str
    fits: Mapping[str, LayerFit]
    """by matrization."""
    customary: Mapping[str, str]
    """by column."""

    @property
    def refusals(self) -> str:
        """Why this layer has no power law, for each matrization without one."""
        reasons = {m: fit.refused for m, fit in self.fits.items() if fit.refused}
        return "; ".join(f"{named(m)}: {reason}" for m, reason in reasons.items())


def layer_rows(capacity: xr.Dataset) -> list[LayerRow]:
    """Number of singular values and α of every layer and matrization (figure 3b).

    Parameters
    ----------
    capacity
        the store's group ``capacity/MODEL``.

    References
    ----------
    Praggastis et al. 2022, Fig. 3b.
    """
    unfolded = capacity.sel(matrization="unfolded")
    return [
        LayerRow(
            layer=layer,
            fits={
                m: _layer_fit(capacity.sel(layer=layer, matrization=m))
                for m in texts(capacity["matrization"])
            },
            customary={
                name: _figure(
                    float(unfolded[name].sel(layer=layer)), ",.0f" if name in _COUNTS else "#.4g"
                )
                for name in CUSTOMARY
            },
        )
        for layer in texts(capacity["layer"])
    ]


def _layer_fit(one: xr.Dataset) -> LayerFit:
    alpha, sigma, greatest = (float(one[name]) for name in ("alpha", "sigma", "lambda_max"))
    fitted = isfinite(alpha)
    return LayerFit(
        count=count(int(one["values"])),
        alpha=f"{alpha:.2f} ± {sigma:.2f}" if fitted else _NONE,
        xmin=_figure(float(one["xmin"]), "#.3g"),
        tail=count(int(one["tail"])) if fitted else _NONE,
        D=_figure(float(one["D"]), ".3f"),
        lambda_max=_figure(greatest, "#.4g"),
        term=_figure(alpha * log(greatest), ".2f") if fitted and greatest > 0 else _NONE,
        refused=str(one["refusal"].item()),
    )


def alpha_hats(capacity: xr.Dataset) -> dict[str, dict[str, str]]:
    """α̂ of one model by matrization: its sum over layers as ``total``, and its ``mean``."""
    total, mean = (_by_matrization(capacity[name]) for name in ("alpha_hat", "alpha_hat_mean"))
    return {m: {"total": total[m], "mean": mean[m]} for m in total}


@dataclass(frozen=True)
class Folding:
    """Which BatchNorms were folded into a model's layers, as the page prints it."""

    asked: bool
    folded: list[str]
    refused: list[str]


def folding(capacity: xr.Dataset) -> Folding:
    """The BatchNorms folded into a model's layers, and why others were not."""
    if "batch_norm" not in capacity:
        return Folding(False, [], [])
    layers = texts(capacity["layer"])
    folded = zip(layers, texts(capacity["batch_norm"]), strict=True)
    refused = zip(layers, texts(capacity["not_folded"]), strict=True)
    return Folding(
        True,
        [f"{layer} with {norm}" for layer, norm in folded if norm],
        [f"{layer}: {why}" for layer, why in refused if why],
    )


@dataclass(frozen=True)
class BoundaryRow:
    """One layer whose periodic spectrum was held against exact ones."""

    layer: str
    input: str
    whole: bool
    """whether that is the layer's own input."""
    figures: list[str]
    """largest value, Frobenius norm and spectrum, for zeros and then for the valid convolution."""


@dataclass(frozen=True)
class Boundaries:
    """How far the periodic spectra of a model lie from exact ones, as the page prints it."""

    asked: bool
    rows: list[BoundaryRow]
    refused: Mapping[str, list[str]]
    """layers that were not compared, by reason."""

    @property
    def smaller(self) -> bool:
        """Whether any layer was compared at a smaller input than its own."""
        return any(not row.whole for row in self.rows)


def boundaries(capacity: xr.Dataset) -> Boundaries:
    """What taking images as periodic does to the Toeplitz spectra of a model's layers."""
    if "boundary_input" not in capacity:
        return Boundaries(False, [], {})
    rows, refused = [], dict[str, list[str]]()
    for layer in texts(capacity["layer"]):
        one = capacity.sel(layer=layer)
        if why := str(one["boundary_refusal"].item()):
            refused.setdefault(why, []).append(layer)
            continue
        figures = [
            _figure(float(one[f"boundary_{name}"].sel(boundary=boundary)), form)
            for boundary in ("zeros", "valid")
            for name, form in (("largest", "+.3f"), ("frobenius", "+.3f"), ("spectrum", ".3f"))
        ]
        whole = bool(one["boundary_whole"].item())
        rows.append(BoundaryRow(layer, str(one["boundary_input"].item()), whole, figures))
    return Boundaries(True, rows, refused)


def count(number: int) -> str:
    """A number of singular values: in full below a million, such as 3.21e6 from there on."""
    if number < 1_000_000:
        return f"{number:,}"
    mantissa, exponent = f"{number:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def signed(r: float) -> str:
    """A coefficient to two places, with a true minus sign; a dash where it is undefined."""
    return f"{r:.2f}".replace("-", "−") if isfinite(r) else _NONE


def named(matrization: str) -> str:
    """How the page writes a matrization; one that is not known keeps its name."""
    return MATRIZATIONS.get(matrization, matrization)


def texts(values: xr.DataArray) -> list[str]:
    """Strings of an array, whichever of the string dtypes it has."""
    return [str(value) for value in values.to_numpy().tolist()]


def _by_matrization(values: xr.DataArray) -> dict[str, str]:
    found = zip(texts(values["matrization"]), values.to_numpy().tolist(), strict=True)
    return {matrization: _figure(value, ",.2f") for matrization, value in found}


def _left_out(capacity: xr.Dataset) -> str:
    lost = {
        m: sum(bool(why) for why in texts(capacity["refusal"].sel(matrization=m)))
        for m in texts(capacity["matrization"])
    }
    of = capacity.sizes["layer"]
    return ", ".join(f"{named(m)} {n} of {of} layers" for m, n in lost.items() if n)


def _figure(value: float, form: str) -> str:
    return format(value, form).replace("-", "−") if isfinite(value) else _NONE


def _constant(values: Floats) -> bool:
    """Whether the values differ by no more than rounding."""
    return float(np.ptp(values)) <= 1e-9 * float(np.abs(values).max())


def some(names: Sequence[str], most: int) -> list[str]:
    """So many of the names, spread evenly, the first and the last among them."""
    if len(names) <= most:
        return list(names)
    return [names[i] for i in np.linspace(0, len(names) - 1, most).round().astype(int)]
