"""Findings of a made-up list of models, with spectra that look like those of trained networks."""

from __future__ import annotations

from math import prod

import numpy as np
import xarray as xr

from ddp_tasks.report.capacity_page import CapacityFindings

MATRIZATIONS = ("unfolded", "toeplitz", "slices", "channels")
_BINS = 60
_FIGURES = ("alpha", "xmin", "D", "sigma", "tail", "lambda_max", "rival_alpha")
_COUNTS = ("independent", "rival_tail", "unstable")
_CUSTOMARY = (
    *("log_norm", "log_spectral_norm", "weighted_alpha", "stable_rank"),
    *("bulk_edge", "spikes", "matrix_rank"),
)
_ATTRIBUTES = {
    "format_version": "4",
    "created": "2026-01-01T00:00:00+00:00",
    "software_versions": '{"torch": "2"}',
    "zoo_parameters": '{"name": "zoo"}',
}


def resnet(depth: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a CIFAR ResNet's weights, by layer, each with the side of its input last."""
    found = {"conv1": (16, 3, 3, 3, 32)}
    width = 16
    for stage, wide, side in ((1, 16, 32), (2, 32, 16), (3, 64, 8)):
        for block in range((depth - 2) // 6):
            found[f"layer{stage}.{block}.conv1"] = (wide, width, 3, 3, side)
            found[f"layer{stage}.{block}.conv2"] = (wide, wide, 3, 3, side)
            width = wide
    return {**found, "linear": (10, 64, 1, 1, 1)}


def capacity(shapes, heavy: float = 1.0, seed: int = 0, refuse=()) -> xr.Dataset:
    """The group ``capacity/MODEL``; ``heavy`` stretches the tails of the unfolded spectra.

    ``refuse`` names pairs of a layer and a matrization whose fit is refused.
    """
    layers = list(shapes)
    size = len(MATRIZATIONS), len(layers)
    figures = {name: np.full(size, np.nan) for name in _FIGURES}
    count = np.zeros(size, dtype=np.int64)
    counts = {name: np.zeros(size, dtype=np.int64) for name in _COUNTS}
    refused = np.full(size, "", dtype=object)
    density, edge = np.full((*size, _BINS), np.nan), np.full((*size, _BINS + 1), np.nan)
    customary = {name: np.full(size, np.nan) for name in _CUSTOMARY}
    rng = np.random.default_rng(seed)
    for at in np.ndindex(size):
        matrization, layer = MATRIZATIONS[at[0]], layers[at[1]]
        values, count[at] = _eigenvalues(rng, shapes[layer], matrization, heavy)
        edge[at] = np.geomspace(values.min() * (1 - 1e-9), values.max() * (1 + 1e-9), _BINS + 1)
        density[at] = np.histogram(values, edge[at])[0] / len(values)
        if at[0] == 0:
            for name, figure in _norms(values, shapes[layer]).items():
                customary[name][at] = figure
        if (layer, matrization) in refuse:
            refused[at] = "fewer than 4 distinct positive values"
            continue
        for name, figure in _fit(values, int(count[at])).items():
            figures[name][at] = figure
        counts["independent"][at] = figures["tail"][at]
        if at[0] == 0:
            customary["weighted_alpha"][at] = figures["alpha"][at] * np.log10(values.max())
    both = ("matrization", "layer")
    return xr.Dataset(
        {
            "values": (both, count),
            **{name: (both, values) for name, values in figures.items()},
            **{name: (both, values) for name, values in counts.items()},
            "refusal": (both, refused),
            "density": ((*both, "bin"), density),
            "edge": ((*both, "edge_index"), edge),
            **{name: (both, values) for name, values in customary.items()},
        },
        coords={"matrization": list(MATRIZATIONS), "layer": layers},
    )


def _eigenvalues(rng, shape, matrization, heavy):
    """Some eigenvalues, and how many there would be."""
    *kernel, side = shape
    d, c = kernel[:2]
    taps = prod(kernel[2:])
    if matrization == "unfolded":
        W = rng.normal(0, (2 / (c * taps)) ** 0.5, (d, c * taps))
        s = np.linalg.svd(W, compute_uv=False)
        s *= (1 - rng.power(3, len(s)) ** 3 + 0.5) ** (0.4 * heavy)
        tail = np.sort(rng.pareto(2.2 / heavy, max(len(s) // 4, 2)))[::-1] + 1
        s[: len(tail)] *= tail**0.5
        return np.square(s) * (1 + 2 * (c == 3)), len(s)
    if matrization == "toeplitz":
        bulk = rng.lognormal(-0.4, 0.9, min(d * side**2, 3000))
        return bulk * rng.uniform(0.3, 2, 1), min(d, c) * side**2
    number = {"slices": min(d, c) * taps, "channels": d * c * kernel[-1]}[matrization]
    return rng.lognormal(-2, 1.3, d * c * 3)[:3000], number


def _fit(values, count):
    ordered = np.sort(values)[::-1]
    length = max(len(ordered) // 4, 3)
    tail, xmin = ordered[:length], ordered[length - 1]
    exponent = length / np.log(tail / xmin).sum()
    empirical = np.arange(length) / length
    D = np.abs((tail[::-1] / xmin) ** -exponent - (1 - empirical)).max()
    return {
        "alpha": 1 + exponent,
        "xmin": xmin,
        "D": D,
        "sigma": exponent / length**0.5,
        "tail": round(length * count / len(values)),
        "lambda_max": ordered[0],
    }


def _norms(values, shape):
    edge = 2 / prod(shape[1:4]) * (shape[0] ** 0.5 + prod(shape[1:4]) ** 0.5) ** 2
    return {
        "log_norm": np.log10(values.sum()),
        "log_spectral_norm": np.log10(values.max()),
        "stable_rank": values.sum() / values.max(),
        "bulk_edge": edge,
        "spikes": (values > edge).sum(),
        "matrix_rank": len(values),
    }


def terms(of_model: xr.Dataset) -> np.ndarray:
    """Terms of Eq. 12, of shape (matrization, layer); NaN where there is no fit."""
    return (of_model["alpha"] * np.log(of_model["lambda_max"])).to_numpy()


def of_models(of_model: xr.Dataset) -> dict[str, np.ndarray]:
    """What the group ``zoo`` has of one model, each of shape (matrization,)."""
    sum_of, fitted = np.nansum(terms(of_model), axis=1), of_model["alpha"].notnull().sum("layer")
    squares = (of_model["sigma"] * np.log(of_model["lambda_max"])) ** 2
    error = np.sqrt(squares.sum("layer")).to_numpy()
    of_fits = of_model.where(of_model["alpha"].notnull())
    return {
        "alpha_hat": sum_of,
        "alpha_hat_error": error,
        "alpha_hat_mean": sum_of / fitted.to_numpy(),
        "alpha_hat_mean_error": error / fitted.to_numpy(),
        "few_tails": (of_fits["independent"] < 20).sum("layer").to_numpy(),
        "unstable_tails": (of_fits["unstable"] == 1).sum("layer").to_numpy(),
        "below_one": (of_fits["lambda_max"] < 1).sum("layer").to_numpy(),
    }


def zoo(models, capacities) -> xr.Dataset:
    """The group ``zoo``.

    Parameters
    ----------
    models
        family, accuracy and error, by name.
    capacities
        layers, by name of those models that did not fail.
    """
    of = {name: of_models(capacities[name]) for name in models if name in capacities}

    def table(name):
        none = np.full(len(MATRIZATIONS), np.nan if name.startswith("alpha") else 0)
        return ("matrization", "model"), np.array(
            [of[m][name] if m in of else none for m in models]
        ).T

    layers = [capacities[m].sizes["layer"] if m in of else 0 for m in models]
    return xr.Dataset(
        {
            "family": ("model", [m[0] for m in models.values()]),
            "accuracy": ("model", [m[1] for m in models.values()]),
            "error": ("model", np.array([m[2] for m in models.values()], dtype=object)),
            "layers": ("model", layers),
            **{name: table(name) for name in next(iter(of.values()))},
        },
        coords={"model": list(models), "matrization": list(MATRIZATIONS)},
    )


def resnets(failed: bool = False) -> CapacityFindings:
    """The four ResNets of CIFAR-10, one refusal, and one failed model if wanted."""
    accuracy = {20: 91.73, 32: 92.63, 44: 93.10, 56: 93.39}
    models = {f"resnet{n}": ("CIFAR ResNet", value, "") for n, value in accuracy.items()}
    capacities = {
        f"resnet{n}": capacity(
            resnet(n), heavy=1 + n / 100, seed=n, refuse={("linear", "slices")} if n == 20 else ()
        )
        for n in accuracy
    }
    if failed:
        models["resnet110"] = ("CIFAR ResNet", 93.68, "no such file: <resnet110.pt>")
    return CapacityFindings(
        "CIFAR-10 ResNets", zoo(models, capacities), capacities, dict(_ATTRIBUTES)
    )


def families(sizes: int = 5) -> CapacityFindings:
    """Three families of so many models each, one of which failed."""
    rng = np.random.default_rng(5)
    models, capacities = {}, {}
    for family, best in (("ResNeXt", 79.0), ("FD-MobileNet", 71.0), ("MeNet", 68.0)):
        for i in range(sizes):
            name = f"{family.lower().replace('-', '')}_{(i + 1) * 12}x{4 * 2**i}d"
            accuracy = best - 2.2 * (4 - i) + float(rng.normal(0, 0.5))
            models[name] = (family, accuracy, "")
            shapes = resnet(8 + 6 * (i // 2))
            capacities[name] = capacity(shapes, heavy=0.8 + i * 0.15, seed=len(models))
    failing = list(models)[sizes + 2]
    models[failing] = (*models[failing][:2], "the weights do not fit the network")
    del capacities[failing]
    return CapacityFindings(
        "Three families", zoo(models, capacities), capacities, dict(_ATTRIBUTES)
    )
