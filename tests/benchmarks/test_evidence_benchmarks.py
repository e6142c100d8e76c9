"""The benchmarks behind what README says of networks: seeds, samples and random bases."""

import numpy as np
import torch

from benchmarks import samples, seeds


def training(**layers):
    of_layers = {
        name: {str(i): list(map(int, classes)) for i, classes in enumerate(sets)}
        for name, sets in layers.items()
    }
    return seeds.Training(seed=0, threads=1, accuracy=0.9, layers=of_layers)


def test_a_training_of_digits_is_measured_as_a_run_measures_it():
    run = seeds.preset("digits", 3, None)
    short = run.model.training.model_copy(update={"epochs": 1})
    found = seeds.measure(
        run.model_copy(update={"model": run.model.model_copy(update={"training": short})}), 1
    )
    assert (found.seed, found.threads) == (3, 1)
    assert found.accuracy > 0.5
    assert list(found.layers) == ["conv1", "conv2", "fc1", "fc2"]
    assert any(found.layers.values())


def test_statements_are_counted_over_trainings():
    first = training(conv2=["08", "0268", "1"], fc2=["37"])
    second = training(conv2=["0128"], fc2=["379"])
    said = seeds.Said("conv2", "08", "17")
    assert (said.holds(first), said.holds(second)) == (True, False)
    assert said.words == "conv2: a vector significant for 0, 8, not for 1, 7"
    page = "\n".join(seeds.section("mnist", [first, second]))
    assert "| conv2 | 1 to 3 | 1 to 3 |" in page
    assert "- fc2: a vector significant for 3, 7, not for 0, 1, 2, 4, 5, 6, 8, 9: 1 of 2" in page


def signals(seed=0):
    rng = np.random.default_rng(seed)
    U = torch.from_numpy(np.linalg.qr(rng.standard_normal((6, 4)))[0])
    signal = rng.standard_normal((40, 4)).astype(np.float32)
    signal[:10, 0] += 5
    return samples.LayerSignals(U, signal, np.repeat(np.arange(4), 10), tuple("abcd"), (0.75, 75.0))


def test_a_sample_has_the_images_asked_for_of_each_class():
    own = signals()
    whole, half = own.significant(0, 10), own.significant(5, 10)
    assert whole[0, 0]
    chosen = np.concatenate([np.arange(10 * c + 5, 10 * c + 10) for c in range(4)])
    q = np.quantile(own.signal[chosen].astype(np.float64), 0.75)
    share = (own.signal[chosen] > q).reshape(4, 5, 4).mean(axis=1)
    np.testing.assert_array_equal(half, share >= 0.75)


def test_a_rotation_keeps_lengths_and_follows_the_rule_of_signs():
    own = signals()
    turned = own.rotated(7)
    np.testing.assert_allclose(
        np.linalg.norm(turned.signal, axis=1), np.linalg.norm(own.signal, axis=1), rtol=1e-5
    )
    assert not np.allclose(np.abs(turned.signal), np.abs(own.signal))
    Q = np.linalg.lstsq(own.signal.astype(float), turned.signal.astype(float), rcond=None)[0]
    vectors = own.U.numpy() @ Q
    largest = np.abs(vectors).argmax(axis=0)
    assert (vectors[largest, np.arange(4)] > 0).all()


def test_what_readme_says_is_asked_of_incidences_by_hand():
    names = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    significant = np.zeros((10, 3), dtype=bool)
    significant[[2, 3, 4, 5, 6, 7], 0] = True
    significant[[1, 9], 1] = True
    significant[[0, 2], 2] = True
    found = samples.shown(significant, names, {0: samples.ANIMALS, 2: ("automobile", "truck")})
    assert found.of_vectors == {0: samples.ANIMALS, 2: ("airplane", "bird")}
    assert found.exactly == {samples.ANIMALS: 1, ("automobile", "truck"): 1}
    assert found.shared == (1, 1, 1)
