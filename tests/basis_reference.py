"""The measures of one layer in one basis as slow loops over images, vectors and classes."""

import numpy as np
import reference

from schemas.control_variables import MEASURES


def _eta_squared(values, targets, classes):
    groups = [[v for v, t in zip(values, targets, strict=True) if t == c] for c in range(classes)]
    return reference.explained_share(groups) if values else 0.0


def _best(choosing, judging):
    """What those with the greatest on one side have on the other: of equals, any may be meant."""
    greatest = max(choosing, default=0.0)
    return {b for a, b in zip(choosing, judging, strict=True) if a > greatest - 1e-9} or {0.0}


def measures(
    signals, target, part, *, quantile, percentage, directions, classes, groups, pairs, excludes
):
    """All measures, by name; of the best η², all values that it may have.

    ``signals`` is (image, v), NaN for an image that does not reach the layer; ``target`` is -1 for
    one that could not be read. ``excludes(a, b, images_a, images_b)`` says whether the interval of
    the difference of two counts excludes zero.
    """
    read = [i for i in range(len(target)) if target[i] >= 0]
    last = max((int(part[i]) for i in read), default=0)
    choose, judge = ([i for i in read if part[i] == p] for p in (0, last))
    reached = [i for i in read if not np.isnan(signals[i][0])]
    exact = np.asarray(signals, dtype=np.float64)
    signs = [1 if direction == "positive" else -1 for direction in directions]
    q = {
        sign: np.quantile(np.array([sign * exact[i] for i in reached if i in choose]), quantile)
        for sign in signs
    }
    nodes = [(v, sign) for v in range(exact.shape[1]) for sign in signs]

    def marked(node, image):
        v, sign = node
        return int(image in reached and sign * exact[image][v] > q[sign])

    def counts(node, images):
        return [sum(marked(node, i) for i in images if target[i] == c) for c in range(classes)]

    def sizes(images):
        return [sum(1 for i in images if target[i] == c) for c in range(classes)]

    chosen = {node: counts(node, choose) for node in nodes}
    told = {node: counts(node, judge) for node in nodes}
    choosing_images, judging_images = sizes(choose), sizes(judge)
    sets = {
        node: frozenset(
            c
            for c in range(classes)
            if reference.significant_for_class(chosen[node][c], choosing_images[c], percentage)
        )
        for node in nodes
    }
    significant = [node for node in nodes if sets[node]]
    distinct = sorted({sets[node] for node in significant}, key=sorted)

    def of_nodes(images):
        targets = [target[i] for i in images]
        return [
            _eta_squared([marked(node, i) for i in images], targets, classes)
            for node in significant
        ]

    def of_signals(images):
        there = [i for i in images if i in reached]
        targets = [target[i] for i in there]
        return [
            _eta_squared([exact[i][v] for i in there], targets, classes)
            for v in range(exact.shape[1])
        ]

    told_of_nodes, told_of_signals = of_nodes(judge), of_signals(judge)
    apart = [
        sum(excludes(told[n][a], told[n][b], judging_images[a], judging_images[b]) for n in nodes)
        for a, b in pairs
    ]
    measured = {
        "nodes": len(significant),
        "incidences": sum(len(sets[node]) for node in significant),
        "hyperedges": len(frozenset().union(*distinct)),
        "equivalence_classes": len(distinct),
        "depth": reference.superset_chain(distinct),
        "exclusive": sum(len(sets[node]) == 1 for node in significant),
        "parted_groups": sum(frozenset(group) in distinct for group in groups)
        if groups
        else np.nan,
        "eta_squared_best": _best(of_nodes(choose), told_of_nodes),
        "eta_squared_mean": float(np.mean(told_of_nodes)) if significant else 0.0,
        "eta_squared_signals_best": _best(of_signals(choose), told_of_signals),
        "eta_squared_signals_mean": float(np.mean(told_of_signals)),
        "distinguishing": float(np.mean(apart)) if pairs else np.nan,
    }
    assert list(measured) == list(MEASURES)
    return measured
