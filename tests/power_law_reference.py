"""A power-law fit as slow loops over every xmin and every value; for tests only."""

import math


def power_laws(values):
    """α, xmin, D and the tail's length at every xmin, ascending."""
    values = sorted(v for v in values if v > 0)
    distinct = sorted(set(values))
    found = []
    for xmin in distinct[:-2]:
        tail = [v for v in values if v >= xmin]
        alpha = 1 + len(tail) / math.fsum(math.log(v / xmin) for v in tail)
        D = 0.0
        for x in distinct:
            if x >= xmin:
                fitted = 1 - (x / xmin) ** (1 - alpha)
                actual = sum(v < x for v in tail) / len(tail)
                D = max(D, abs(fitted - actual))
        found.append((alpha, xmin, D, len(tail)))
    return found


def power_law(values):
    """Of these the one of least D, by the rules of the package powerlaw 2.0."""
    best = None
    for one in power_laws(values):
        if best is None or best[2] > one[2]:
            best = one
    return best
