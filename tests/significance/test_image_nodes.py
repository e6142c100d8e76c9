import numpy as np
import reference

from ddp_tasks.significance.image_nodes import image_nodes


def layer(n=60, r=4, classes=3):
    rng = np.random.default_rng(2)
    target = np.arange(n) % classes
    signals = rng.standard_normal((n, r)).astype(np.float32)
    signals[target == 0, 1] += 4
    signals[target == 2, 3] -= 4
    return signals, target


def test_signed_vectors_are_significant_as_the_definition_says():
    signals, target = layer()
    nodes = image_nodes(
        signals, target, np.ones(60, bool), 3, levels=(0.8, 60.0),
        directions=("positive", "negative"),
    )  # fmt: skip
    np.testing.assert_array_equal(nodes.vector, [0, 0, 1, 1, 2, 2, 3, 3])
    np.testing.assert_array_equal(nodes.sign, [1, -1] * 4)
    cube = signals[:, None].tolist()
    for node, (vector, sign) in enumerate(zip(nodes.vector, nodes.sign, strict=True)):
        q = reference.threshold(cube, 0, 4, 0.8, int(sign))
        assert nodes.threshold[node] == q
        for c in range(3):
            count = sum(sign * float(s) > q for s in signals[target == c, vector])
            assert nodes.significant[c, node] == reference.significant_for_class(count, 20, 60)
    assert nodes.significant[0, 2]
    assert nodes.significant[2, 7]
    assert nodes.count == int(nodes.significant.any(axis=0).sum())


def test_images_that_do_not_choose_change_nothing_but_their_own_rows():
    signals, target = layer()
    chooses = np.arange(60) < 30
    own = image_nodes(
        signals[:30],
        target[:30],
        np.ones(30, bool),
        3,
        levels=(0.8, 60.0),
        directions=("positive",),
    )
    part = image_nodes(signals, target, chooses, 3, levels=(0.8, 60.0), directions=("positive",))
    np.testing.assert_array_equal(own.significant, part.significant)
    np.testing.assert_array_equal(own.active, part.active[:30])
    assert part.active.shape == (60, 4)


def test_images_that_do_not_reach_the_layer_count_in_their_class_and_are_never_active():
    signals, target = layer()
    missing = signals.copy()
    missing[::2] = np.nan
    nodes = image_nodes(
        missing, target, np.ones(60, bool), 3, levels=(0.8, 40.0), directions=("positive",)
    )
    assert not nodes.active[::2].any()
    assert nodes.threshold[0] == np.quantile(signals[1::2].astype(float), 0.8)
    none = image_nodes(
        np.full((6, 2), np.nan), target[:6], np.ones(6, bool), 3, levels=(0.8, 40.0),
        directions=("positive",),
    )  # fmt: skip
    assert not none.significant.any()
