import numpy as np
import pytest

from ddp_tasks.significance.misclassification_scores import (
    ALL,
    LAST,
    LAYERS,
    SOFTMAX,
    misclassification_scores,
)


def made(seed=0, images=600, telling=True):
    """Margins of three layers, of which the first tells what max-softmax does not."""
    rng = np.random.default_rng(seed)
    wrong = rng.uniform(size=images) < 0.3
    margins = rng.normal(size=(images, 3))
    if telling:
        margins[:, 0] -= 2 * wrong
    confidence = 1 / (1 + np.exp(-rng.normal(1 - wrong, 1)))
    return margins, confidence.astype(np.float32), wrong, np.arange(images) % 2 == 0


def scores_of(**options):
    margins, confidence, wrong, choosing = made(**options)
    return misclassification_scores(margins, ("a", "b", "c"), confidence, wrong, choosing)


def test_a_layer_that_knows_more_than_max_softmax_is_found_and_used():
    found = scores_of()
    judged, at = found.judged(), found.names.index
    assert found.names == (SOFTMAX, LAST, LAYERS, ALL, "layer a", "layer b", "layer c")
    assert found.names[found.best_layer()] == "layer a"
    assert judged.difference(at(ALL), at(SOFTMAX), 0.95).low > 0
    assert judged.difference(at(ALL), at(LAST), 0.95).low > 0
    # A smaller margin of the telling layer speaks for an error.
    assert found.weights[0] < -0.5
    assert np.abs(found.weights[1:3]).max() < -found.weights[0] / 2


def test_layers_that_know_nothing_are_not_said_to_help():
    gains = []
    for seed in range(20):
        found = scores_of(seed=seed, telling=False)
        at = found.names.index
        gains.append(found.judged().difference(at(ALL), at(SOFTMAX), 0.95))
    assert sum(gain.low > 0 for gain in gains) <= 3
    assert np.mean([gain.value for gain in gains]) < 0.01


def test_without_wrong_and_right_predictions_in_both_halves_there_is_no_score():
    margins, confidence, wrong, choosing = made(images=40)
    with pytest.raises(ValueError, match="of the 20 images that judge, 0 are misclassified"):
        misclassification_scores(margins, ("a",) * 3, confidence, wrong & choosing, choosing)
