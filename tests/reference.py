"""The paper's equations as slow float64 loops and sets, to hold the fast ones against.

Nothing here is shared with what it checks. Section and equation numbers are those of
Praggastis et al. 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import numpy as np

Pair = tuple[int, int]
Sizes = Sequence[int]

_NUMPY_PADDING = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}


def padded(X, kernel: Sizes, padding: str | Sizes, dilation: Sizes, mode: str):
    """X of shape (c, m, ...) with the padding applied, as section 3.1 assumes (footnote 3)."""
    axes = range(len(kernel))
    if padding == "valid":
        sides = [(0, 0) for _ in axes]
    elif padding == "same":
        # As many columns in all as keep the size at stride 1; the odd one goes to the end.
        totals = [dilation[axis] * (kernel[axis] - 1) for axis in axes]
        sides = [(total // 2, total - total // 2) for total in totals]
    else:
        sides = [(padding[axis], padding[axis]) for axis in axes]
    return np.pad(np.asarray(X, dtype=np.float64), [(0, 0), *sides], mode=_NUMPY_PADDING[mode])


def output_positions(X, kernel: Sizes, stride: Sizes, dilation: Sizes) -> list[Sizes]:
    """First corners, in a padded X, of the receptive fields, in row-major order."""
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    return list(
        product(
            *(
                range(0, m - span + 1, step)
                for m, span, step in zip(X.shape[1:], spans, stride, strict=True)
            )
        )
    )


def convolution(
    X,
    W,
    *,
    stride: Sizes,
    padding: str | Sizes,
    dilation: Sizes,
    groups: int = 1,
    mode: str = "zeros",
):
    """Eq. 1 for X of shape (c, m, ...) and W of shape (d, c / groups, k, ...).

    Returns shape (d, positions).
    """
    d, channels, *kernel = W.shape
    X = padded(X, kernel, padding, dilation, mode)
    corners = output_positions(X, kernel, stride, dilation)
    Y = np.zeros((d, len(corners)))
    for h in range(d):
        first = (h // (d // groups)) * channels
        for position, corner in enumerate(corners):
            total = 0.0
            for r, *s in product(range(channels), *map(range, kernel)):
                place = [i + t * gap for i, t, gap in zip(corner, s, dilation, strict=True)]
                total += W[(h, r, *s)] * X[(first + r, *place)]
            Y[h, position] = total
    return Y


def transposed_convolution(
    X,
    W,
    *,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    dilation: Sizes,
    groups: int,
):
    """Every entry of X (c, m, ...) times the kernel of W (c, d / groups, k, ...), added up.

    Returns shape (d, positions).
    """
    c, channels, *kernel = W.shape
    size = [
        (m - 1) * step - 2 * side + gap * (k - 1) + more + 1
        for m, step, side, gap, k, more in zip(
            X.shape[1:], stride, padding, dilation, kernel, output_padding, strict=True
        )
    ]
    Y = np.zeros((channels * groups, *size))
    for r, *i in product(*map(range, X.shape)):
        group = r // (c // groups)
        for h, *s in product(range(channels), *map(range, kernel)):
            place = [
                at * step - side + t * gap
                for at, step, side, t, gap in zip(i, stride, padding, s, dilation, strict=True)
            ]
            if all(0 <= at < m for at, m in zip(place, size, strict=True)):
                Y[(group * channels + h, *place)] += X[(r, *i)] * W[(r, h, *s)]
    return Y.reshape(len(Y), -1)


def receptive_fields(
    X,
    kernel: Sizes,
    *,
    stride: Sizes,
    padding: str | Sizes,
    dilation: Sizes,
    mode: str = "zeros",
):
    """Eq. 7: column p is the flattened receptive field at position p, all channels."""
    X = padded(X, kernel, padding, dilation, mode)
    corners = output_positions(X, kernel, stride, dilation)
    entries = list(product(range(X.shape[0]), *map(range, kernel)))
    Psi = np.zeros((len(entries), len(corners)))
    for position, corner in enumerate(corners):
        for row, (r, *s) in enumerate(entries):
            place = [i + t * gap for i, t, gap in zip(corner, s, dilation, strict=True)]
            Psi[row, position] = X[(r, *place)]
    return Psi


def block_diagonal(W, groups: int):
    """The whole unfolded weight of a convolution with groups, from W of shape (d, c*k*k / g)."""
    d, columns = W.shape
    whole = np.zeros((d, groups * columns))
    for row in range(d):
        group = row // (d // groups)
        for column in range(columns):
            whole[row, group * columns + column] = W[row, column]
    return whole


def singular_value_decomposition(W):
    """Eq. 15 with the sign convention: the entry of largest magnitude of each u is positive."""
    U, S, Vh = np.linalg.svd(np.asarray(W, dtype=np.float64), full_matrices=False)
    r = sum(1 for s in S if s > S[0] * max(W.shape) * 2.0**-52)
    U, S, V = U[:, :r].copy(), S[:r], Vh[:r].T.copy()
    for i in range(r):
        largest = max(range(len(U)), key=lambda row: abs(U[row, i]))
        if U[largest, i] < 0:
            U[:, i], V[:, i] = -U[:, i], -V[:, i]
    return U, S, V


def signal_vector(W, Psi):
    """Section 4.3: for each v, the average over receptive fields of s <psi, v>."""
    _, S, V = singular_value_decomposition(W)
    positions = range(Psi.shape[1])
    return np.array(
        [
            sum(S[i] * float(np.dot(Psi[:, p], V[:, i])) for p in positions) / len(positions)
            for i in range(len(S))
        ]
    )


def threshold(cube, layer: int, rank: int, level: float, sign: int = 1) -> float:
    """Section 5: a quantile of all signals of a layer."""
    signals = [sign * float(image[layer][i]) for image in cube for i in range(rank)]
    return float(np.quantile(np.array(signals, dtype=np.float64), level))


def significant_images(
    cube, targets, layer: int, i: int, *, target_class: int, q: float, sign: int = 1
) -> int:
    """Section 5: images of a class for which vector i has a signal strictly greater than q."""
    return sum(
        1
        for image, target in zip(cube, targets, strict=True)
        if target == target_class and sign * float(image[layer][i]) > q
    )


def significant_for_class(significant: int, images: int, percentage: float) -> bool:
    """Section 5: at least p % of the class, in exact arithmetic on p as it is written."""
    return images > 0 and significant * 100 >= Fraction(str(percentage)) * images


def explained_share(indicators: Sequence[Sequence[int]]) -> float:
    """One less the share of an indicator's variance that is left within the classes."""
    everything = [x for members in indicators for x in members]
    mean = sum(everything) / len(everything)
    total = sum((x - mean) ** 2 for x in everything)
    within = 0.0
    for members in indicators:
        if members:
            own = sum(members) / len(members)
            within += sum((x - own) ** 2 for x in members)
    return 1 - within / total if total else 0.0


def hypergraph(table, names: Sequence[str]) -> dict[str, set[int]]:
    """Section 5.1: hyperedges as sets of nodes; empty ones are gone."""
    hyperedges = {}
    for name, row in zip(names[: len(table)], table, strict=True):
        nodes = {i for i, yes in enumerate(row) if yes}
        if nodes:
            hyperedges[name] = nodes
    return hyperedges


def memberships(hyperedges: dict[str, set[int]]) -> dict[int, frozenset[str]]:
    """The hyperedges of each node."""
    nodes = set().union(*hyperedges.values()) if hyperedges else set()
    return {v: frozenset(e for e, inside in hyperedges.items() if v in inside) for v in nodes}


def equivalence_classes(hyperedges: dict[str, set[int]]) -> set[frozenset[int]]:
    """Eq. 17: nodes of the same hyperedges are equivalent."""
    of = memberships(hyperedges)
    return {frozenset(w for w in of if of[w] == of[v]) for v in of}


def strict_order(sets: Sequence[frozenset[str]]) -> set[Pair]:
    """Eq. 18: i > j where the hyperedges of i are a proper superset of those of j."""
    everyone = range(len(sets))
    return {
        (i, j)
        for i, j in product(everyone, everyone)
        if all(e in sets[i] for e in sets[j]) and any(e not in sets[j] for e in sets[i])
    }


def transitive_reduction(order: set[Pair]) -> set[Pair]:
    """The pairs of a strict order with nothing between them."""
    elements = {x for pair in order for x in pair}
    return {
        (i, j)
        for i, j in order
        if not any((i, between) in order and (between, j) in order for between in elements)
    }


def strongest(signals: Sequence[float], places: int) -> list[int]:
    """Positions in descending order of the signal, equal signals in the order of the images."""
    meant = [i for i, signal in enumerate(signals) if not np.isnan(signal)]
    return sorted(meant, key=lambda i: (-signals[i], i))[:places]


def superset_chain(sets: Sequence[frozenset[str]]) -> int:
    """Sets in the longest chain of proper inclusions, by trying every set as its lower end."""

    def chain(end: frozenset[str]) -> int:
        return 1 + max((chain(other) for other in sets if other > end), default=0)

    return max((chain(one) for one in sets), default=0)


def greatest_level(counts: Sequence[int], levels: Sequence[float], images: int, p: float) -> float:
    """The greatest level at which so many of a class's images are at least p % of it."""
    holding = [
        level
        for level, count in zip(levels, counts, strict=True)
        if significant_for_class(count, images, p)
    ]
    return max(holding, default=float("nan"))


def resampled_table(cube, targets, weights, *, q: float, p: float, sign: int, classes: int):
    """The incidences of one layer where image n counts weights[n] times; rows of 0 and 1."""
    vectors = range(len(cube[0]))
    table = []
    for c in range(classes):
        members = [n for n, target in enumerate(targets) if target == c]
        images = sum(weights[n] for n in members)
        row = []
        for i in vectors:
            count = sum(weights[n] for n in members if sign * float(cube[n][i]) > q)
            row.append(significant_for_class(count, images, p))
        table.append(row)
    return table


def unbiased_cka(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> float:
    """Linear CKA with the unbiased estimate of HSIC (Song et al. 2012, Eq. 5)."""

    def kernel(x):
        return [
            [0.0 if i == j else sum(p * q for p, q in zip(x[i], x[j], strict=True))
             for j in range(len(x))]
            for i in range(len(x))
        ]  # fmt: skip

    def hsic(K, L):
        n = len(K)
        every = range(n)
        trace = sum(K[i][j] * L[j][i] for i in every for j in every)
        totals = [sum(map(sum, of)) for of in (K, L)]
        crossed = sum(K[i][j] * L[j][m] for i in every for j in every for m in every)
        return (trace + totals[0] * totals[1] / ((n - 1) * (n - 2)) - 2 / (n - 2) * crossed) / (
            n * (n - 3)
        )

    K, L = kernel(a), kernel(b)
    return hsic(K, L) / (hsic(K, K) * hsic(L, L)) ** 0.5
