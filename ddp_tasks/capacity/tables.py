"""Tables of the capacity metric α̂, as figures, pages and the terminal print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log, log10

import numpy as np
import xarray as xr

from ddp_tasks.capacity.power_law import FEW
from schemas.capacity_variables import CAPACITY_GROUPS

MATRIZATIONS: Mapping[str, str] = {
    "unfolded": "W̄₁",
    "toeplitz": "W̄₂",
    "slices": "slices d × c",
    "channels": "channels k × k",
}
MATRIZATION_MEANINGS: Mapping[str, str] = {
    "unfolded": "the unfolded weight, d × c·k·k (Eq. 8): one row a filter",
    "toeplitz": "the Toeplitz matrization, d·n² × c·m² (Eq. 11): one row a filter at a position",
    "slices": "the k² slices of d × c, one for each place of the kernel, their singular values "
    "together (the customary reading, Martin et al. 2021)",
    "channels": "the d·c channels of k × k, one for each pair of filter and channel, their "
    "singular values together (the channels of the weight kernels, section 4.1); of a fully "
    "connected layer, slices and channels are its weight",
}
#: Columns of the unfolded weight alone, in the order of the table.
CUSTOMARY = (
    *("matrix_rank", "log_norm", "log_spectral_norm", "weighted_alpha"),
    *("stable_rank", "bulk_edge", "spikes"),
)
_COUNTS = {"matrix_rank", "spikes"}
#: WeightWatcher's flags: α below the first is called over-trained, above the second under-trained.
OVER_TRAINED, UNDER_TRAINED = 2.0, 6.0
#: What makes α̂ hard to trust, counted over layers, as the groups ``capacity`` and ``zoo`` name it.
CAUTIONS = ("few_tails", "unstable_tails", "below_one")


def _stored(*names: str) -> dict[str, str]:
    """What stored variables mean, as the schema declares it."""
    variables = CAPACITY_GROUPS["capacity"].variables
    return {name: f"{variables[name].meaning}." for name in names}


#: The definition of every column that the page shows. Columns stored under their own names are
#: defined where they are declared.
DEFINITIONS: Mapping[str, str] = {
    "singular values": "number of singular values s of the matrix; λ = s² are the eigenvalues of "
    "its Gram matrix.",
    "α": "exponent of the power law p(λ) ∝ λ^(−α) that the eigenvalues λ = s² of W̄W̄ᵀ follow "
    "from xmin up, by maximum likelihood, ± its standard error (α − 1) / √n, n the number of "
    "eigenvalues from xmin up; those that W̄₂ has at ω and at −ω count once.",
    **_stored("xmin", "tail"),
    "few": "fewer than 20 eigenvalues at or above xmin, those that W̄₂ has at ω and at −ω counted "
    "once: α says little, and less than its standard error makes believe.",
    "unstable": "another tail, at least 4 times as long or short, fits about as well (D at most "
    "half as much again) and its α differs by over twice the standard error of both.",
    "over-trained": f"α is below {OVER_TRAINED:g}: WeightWatcher's word for it, whose authors "
    f"(Martin, Peng and Mahoney 2021) take α from {OVER_TRAINED:g} to {UNDER_TRAINED:g} for the "
    "mark of a well-trained layer. It is a rule of thumb for fully connected layers and for the "
    "slices of convolutions, untested on other matrices, and looks at α alone: see its standard "
    "error and the other flags.",
    "under-trained": f"α is above {UNDER_TRAINED:g}: WeightWatcher's word for it, with the same "
    "reservations.",
    "λmax < 1": "ln λmax is negative, and so is the layer's term of Eq. 12: there a greater α "
    "makes α̂ smaller.",
    **_stored("D"),
    "λmax": "greatest eigenvalue, the squared spectral norm.",
    "α·ln λmax": "the layer's term of Eq. 12; natural logarithm.",
    "α̂": "the sum of these terms, ± its standard error: those of α times ln λmax, added up in "
    "squares, the layers taken as independent and λmax as exact.",
    **_stored(*CUSTOMARY),
    "weighted_alpha": f"{_stored('weighted_alpha')['weighted_alpha'][:-1]}, ± the standard error "
    "of α times log10(lambda_max), which is taken as exact. The other columns have no error: they "
    "are exact figures of the weights.",
}

_NONE = "—"


@dataclass(frozen=True)
class ModelRow:
    """One model as page, terminal and Prefect's UI print it; α̂ by matrization."""

    model: str
    family: str
    layers: str
    accuracy: str
    total: Mapping[str, str]
    mean: Mapping[str, str]
    left_out: str
    """layers that Eq. 12 leaves out, since they have no power law."""
    cautions: str
    """what makes its α̂ hard to trust, by matrization."""
    error: str


def model_rows(zoo: xr.Dataset, capacity: Mapping[str, xr.Dataset]) -> list[ModelRow]:
    """The models in their order, those that failed last.

    Parameters
    ----------
    capacity
        layers of each model, as ``layer_rows`` takes them; for a model that is missing, layers
        left out are not listed.
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
                total=_by_matrization(row, "alpha_hat"),
                mean=_by_matrization(row, "alpha_hat_mean"),
                left_out=_left_out(capacity[model]) if model in capacity else "",
                cautions="" if error else cautions(row, int(row["layers"])),
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
    flags: Mapping[str, str]
    """what is said of α or its term, as in ``DEFINITIONS``, and the figures behind it."""
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
            customary={name: _customary(name, unfolded.sel(layer=layer)) for name in CUSTOMARY},
        )
        for layer in texts(capacity["layer"])
    ]


def _customary(name: str, one: xr.Dataset) -> str:
    """A column of one layer under one matrization; WeightWatcher's weighted α with its error."""
    value = float(one[name])
    if name == "weighted_alpha":
        return with_error(value, float(one["sigma"]) * abs(log10(float(one["lambda_max"]))))
    return _figure(value, ",.0f" if name in _COUNTS else "#.4g")


def _layer_fit(one: xr.Dataset) -> LayerFit:
    alpha, sigma, greatest = (float(one[name]) for name in ("alpha", "sigma", "lambda_max"))
    fitted = isfinite(alpha)
    return LayerFit(
        count=count(int(one["values"])),
        alpha=with_error(alpha, sigma),
        xmin=_figure(float(one["xmin"]), "#.3g"),
        tail=count(int(one["tail"])) if fitted else _NONE,
        D=_figure(float(one["D"]), ".3f"),
        lambda_max=_figure(greatest, "#.4g"),
        term=_figure(alpha * log(greatest), ".2f") if fitted and greatest > 0 else _NONE,
        flags=flags(one),
        refused=str(one["refusal"].item()),
    )


def flags(one: xr.Dataset) -> dict[str, str]:
    """What is said of a fit, by its name in ``DEFINITIONS``, and the figures behind it.

    That it is hard to trust, or that its α lies outside the bounds that WeightWatcher flags.

    Parameters
    ----------
    one
        one layer and matrization of the store's group ``capacity/MODEL``.

    References
    ----------
    Martin, Peng, Mahoney 2021, Predicting trends in the quality of state-of-the-art neural networks
    without access to training or testing data, Nature Communications 12; the words and bounds are
    those of WeightWatcher's column ``warning``.
    """
    alpha, greatest = float(one["alpha"]), float(one["lambda_max"])
    if not isfinite(alpha):
        return {}
    independent = int(one["independent"])
    reasons = {}
    if independent < FEW:
        reasons["few"] = f"{independent} eigenvalue{'' if independent == 1 else 's'}"
    if bool(one["unstable"]):
        rival = f"{float(one['rival_alpha']):.2f}"
        reasons["unstable"] = f"α is {rival} on the {int(one['rival_tail']):,} greatest eigenvalues"
    if alpha < OVER_TRAINED or alpha > UNDER_TRAINED:
        over = alpha < OVER_TRAINED
        bound = f"below {OVER_TRAINED:g}" if over else f"above {UNDER_TRAINED:g}"
        estimate = with_error(alpha, float(one["sigma"]))
        reasons["over-trained" if over else "under-trained"] = f"α = {estimate}, {bound}"
    if greatest < 1:
        reasons["λmax < 1"] = f"ln λmax = {log(greatest):.2f}".replace("-", "−")
    return reasons


def cautions(of: xr.Dataset, layers: int) -> str:
    """What makes α̂ of one model hard to trust, by matrization; empty if nothing does.

    Parameters
    ----------
    of
        the store's group ``capacity/MODEL``, or one model of ``zoo``.
    layers
        of the model.
    """
    sentences = []
    for m in texts(of["matrization"]):
        few, unstable, below = (int(of[name].sel(matrization=m)) for name in CAUTIONS)
        parts = [f"{few} of {layers} tails have fewer than {FEW} eigenvalues"] if few else []
        parts += [f"{unstable} of {layers} α jump between tails"] if unstable else []
        parts += [f"λmax is below 1 in {below} of {layers} layers"] if below else []
        sentences += [f"{named(m)}: {', '.join(parts)}"] if parts else []
    return "; ".join(sentences)


def alpha_hats(capacity: xr.Dataset) -> dict[str, dict[str, str]]:
    """α̂ of one model by matrization: its sum over layers as ``total``, and its ``mean``."""
    total, mean = (_by_matrization(capacity, name) for name in ("alpha_hat", "alpha_hat_mean"))
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
    """One layer whose periodic spectrum was compared with exact ones."""

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
    """How periodic images change the Toeplitz spectra of a model's layers."""
    if "boundary_input" not in capacity:
        return Boundaries(False, [], {})
    rows, refused = [], dict[str, list[str]]()
    for layer in texts(capacity["layer"]):
        layer_data = capacity.sel(layer=layer)
        if why := str(layer_data["boundary_refusal"].item()):
            refused.setdefault(why, []).append(layer)
            continue
        figures = [
            _figure(float(layer_data[f"boundary_{name}"].sel(boundary=boundary)), form)
            for boundary in ("zeros", "valid")
            for name, form in (("largest", "+.3f"), ("frobenius", "+.3f"), ("spectrum", ".3f"))
        ]
        whole = bool(layer_data["boundary_whole"].item())
        rows.append(BoundaryRow(layer, str(layer_data["boundary_input"].item()), whole, figures))
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
    """How the page writes a matrization; an unknown one keeps its name."""
    return MATRIZATIONS.get(matrization, matrization)


def texts(values: xr.DataArray) -> list[str]:
    """Strings of an array of any string dtype."""
    return [str(value) for value in values.to_numpy().tolist()]


def with_error(value: float, error: float, form: str = ",.2f") -> str:
    """A figure ± its standard error; a dash where it is undefined."""
    return f"{_figure(value, form)} ± {_figure(error, form)}" if isfinite(value) else _NONE


def _by_matrization(of: xr.Dataset, name: str) -> dict[str, str]:
    values, errors = of[name].to_numpy().tolist(), of[f"{name}_error"].to_numpy().tolist()
    rows = zip(texts(of["matrization"]), values, errors, strict=True)
    return {matrization: with_error(value, error) for matrization, value, error in rows}


def _left_out(capacity: xr.Dataset) -> str:
    lost = {
        m: sum(bool(why) for why in texts(capacity["refusal"].sel(matrization=m)))
        for m in texts(capacity["matrization"])
    }
    layers = capacity.sizes["layer"]
    return ", ".join(f"{named(m)} {n} of {layers} layers" for m, n in lost.items() if n)


def _figure(value: float, form: str) -> str:
    return format(value, form).replace("-", "−") if isfinite(value) else _NONE


def spread_names(names: Sequence[str], most: int) -> list[str]:
    """At most this many of the names, spread evenly, including the first and the last."""
    if len(names) <= most:
        return list(names)
    return [names[i] for i in np.linspace(0, len(names) - 1, most).round().astype(int)]
