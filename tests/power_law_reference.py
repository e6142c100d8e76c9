"""A power-law fit as slow loops over every xmin and every value; for tests only."""

import math


def power_law(values):
    """α, xmin, D and the tail's length, by the rules of the package powerlaw 2.0."""
    values = sorted(v for v in values if v > 0)
    distinct = sorted(set(values))
    best = None
    for xmin in distinct[:-2]:
        tail = [v for v in values if v >= xmin]
        alpha = 1 + len(tail) / math.fsum(math.log(v / xmin) for v in tail)
        D = 0.0
        for x in distinct:
            if x >= xmin:
                fitted = 1 - (x / xmin) ** (1 - alpha)
                actual = sum(v < x for v in tail) / len(tail)
                D = max(D, abs(fitted - actual))
        if best is None or best[2] > D:
            best = (alpha, xmin, D, len(tail))
    return best
