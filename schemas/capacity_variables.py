"""Stored variables of the capacity metric (section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.declaration import LAYER as _LAYER
from schemas.declaration import Group, Kind, Variable

_MATRIZATION = Variable(
    ("matrization",),
    "string",
    "unfolded: W̄1 (Eq. 8); toeplitz: W̄2 (Eq. 11); slices: the k² matrices W[:, :, s, t] of d × c "
    "together (Martin et al. 2021); channels: the d·c matrices W[h, r] of k × k together, the "
    "channels of the weight kernels (section 4.1); of a fully connected layer its weight always",
)
_ROW = ("matrization", "layer")


#: What makes α̂ hard to trust, counted over layers.
_FLAGS: Mapping[str, str] = {
    "few_tails": "layers with a power law fitted to fewer than 20 independent λ",
    "unstable_tails": "layers that are unstable",
    "below_one": "layers with lambda_max below 1, whose capacity_term is negative: there a "
    "greater alpha makes alpha_hat smaller",
}
_ERROR = (
    "standard error of alpha_hat: sigma · ln(lambda_max) of the layers, added up in squares; "
    "layers taken as independent and lambda_max as exact"
)


def _row(meaning: str, source: str = "", kind: Kind = "float") -> Variable:
    return Variable(_ROW, kind, meaning, source=source)


def _of_boundary(meaning: str) -> Variable:
    return Variable(("boundary", "layer"), "float", meaning, "1", "3.2", optional=True)


_CAPACITY: Mapping[str, Variable] = {
    "matrization": _MATRIZATION,
    "layer": _LAYER,
    "kind": Variable(("layer",), "string", "type of the layer"),
    "shape": Variable(("layer",), "string", "shape of the weight, output channels first"),
    "alpha": _row("exponent of the power law p(λ) ∝ λ^-alpha for λ ≥ xmin", "4.1"),
    "xmin": _row("least λ of the tail: the one with the least D"),
    "D": _row("Kolmogorov-Smirnov distance between the tail and the power law"),
    "sigma": _row("standard error of alpha, (alpha - 1) / sqrt(independent)"),
    "tail": _row("number of λ not below xmin", kind="integer"),
    "independent": _row(
        "number of λ of the tail, those that W̄2 has at ω and at -ω counted once", kind="integer"
    ),
    "rival_alpha": _row(
        "alpha of a tail at least 4 times as long or short that fits about as well, with at most "
        "1.5 times D; NaN where there is none"
    ),
    "rival_tail": _row("number of λ of that tail; 0 where there is none", kind="integer"),
    "unstable": _row(
        "whether rival_alpha differs from alpha by over twice the standard error of both",
        kind="boolean",
    ),
    "values": _row("number of λ above zero, to which the power law is fitted", kind="integer"),
    "zeros": _row("number of λ that are zero to rounding, left out", kind="integer"),
    "lambda_max": _row("greatest λ", "4.1"),
    "capacity_term": _row("alpha · ln(lambda_max): the layer's term of the sum", "Eq. 12"),
    "weighted_alpha": _row("alpha · log10(lambda_max)", "Martin et al. 2021"),
    "log_norm": _row("log10 of the squared Frobenius norm", "Martin et al. 2021"),
    "log_spectral_norm": _row("log10(lambda_max)", "Martin et al. 2021"),
    "stable_rank": _row("squared Frobenius norm over lambda_max"),
    "matrix_rank": _row("number of λ above zero", kind="integer"),
    "bulk_edge": _row("Marchenko-Pastur λ₊ for the variance of the matrix's entries"),
    "spikes": _row("number of λ above bulk_edge", kind="integer"),
    "mp_softrank": _row("bulk_edge / lambda_max"),
    "refusal": _row("why there is no power law; empty where there is one", kind="string"),
    "density": Variable((*_ROW, "bin"), "float", "share of the λ above zero in each bin"),
    "edge": Variable((*_ROW, "edge_index"), "float", "edges of the bins, log-spaced"),
    "alpha_hat": Variable(
        ("matrization",), "float", "sum over layers of capacity_term", source="Eq. 12"
    ),
    "alpha_hat_error": Variable(("matrization",), "float", _ERROR),
    "alpha_hat_mean": Variable(("matrization",), "float", "the same over the layers counted"),
    "alpha_hat_mean_error": Variable(("matrization",), "float", "standard error of the mean"),
    "left_out": Variable(("matrization",), "integer", "layers without a power law"),
    **{name: Variable(("matrization",), "integer", meaning) for name, meaning in _FLAGS.items()},
    "batch_norm": Variable(
        ("layer",),
        "string",
        "BatchNorm folded into the weight first; empty where none is",
        optional=True,
    ),
    "not_folded": Variable(
        ("layer",),
        "string",
        "why the BatchNorm that reads the layer's output is not folded; empty otherwise",
        optional=True,
    ),
    "boundary": Variable(("boundary",), "string", "zeros or valid", optional=True),
    "boundary_largest": _of_boundary("(periodic - exact) / exact of the largest singular value"),
    "boundary_frobenius": _of_boundary("(periodic - exact) / exact of the Frobenius norm"),
    "boundary_spectrum": _of_boundary(
        "distance of the sorted spectra of W̄2, periodic and exact, over the exact Frobenius norm"
    ),
    "boundary_input": Variable(
        ("layer",),
        "string",
        "size of the input at which the two were compared; empty where they were not",
        optional=True,
    ),
    "boundary_whole": Variable(
        ("layer",), "boolean", "whether that is the layer's own input size", optional=True
    ),
    "boundary_refusal": Variable(
        ("layer",), "string", "why they were not compared; empty where they were", optional=True
    ),
}

CAPACITY_GROUPS: Mapping[str, Group] = {
    "capacity": Group(
        "spectra, power laws and norms of the run's layers, as in capacity/{model}", _CAPACITY
    ),
    "capacity/{model}": Group(
        "spectra, power laws and norms of one model's layers; eigenvalues are λ = s², s the "
        "singular values of a matrization, never divided by a dimension",
        _CAPACITY,
    ),
    "zoo": Group(
        "the capacity metric over a list of models",
        {
            "model": Variable(("model",), "string", "name of the model"),
            "matrization": _MATRIZATION,
            "family": Variable(("model",), "string", "models of one family share a linear fit"),
            "accuracy": Variable(("model",), "float", "test accuracy", "%"),
            "layers": Variable(("model",), "integer", "linear layers; 0 where the model failed"),
            "alpha_hat": Variable(
                ("matrization", "model"),
                "float",
                "sum over layers of alpha · ln(lambda_max); grows with depth",
                source="Eq. 12",
            ),
            "alpha_hat_error": Variable(("matrization", "model"), "float", _ERROR),
            "alpha_hat_mean": Variable(
                ("matrization", "model"), "float", "the same over the number of layers counted"
            ),
            "alpha_hat_mean_error": Variable(
                ("matrization", "model"), "float", "standard error of the mean"
            ),
            **{
                name: Variable(("matrization", "model"), "integer", meaning)
                for name, meaning in _FLAGS.items()
            },
            "error": Variable(("model",), "string", "why the model failed; empty otherwise"),
        },
    ),
}
