"""Answers to a sample of images: those that the network gives, spread over the run."""

import numpy as np
import pytest
import shades
import torch
from runs import Noise, TinyNetwork, tiny_run

from ddp_tasks.prepared_run import prepare
from ddp_tasks.signals.sampled_accuracy import MOST_IMAGES, sampled_answers


def _shades(factory="Shades", images=60, **changes):
    changes = {"batch_size": 3} | changes
    return prepare(
        tiny_run(
            {
                "factory": f"{shades.__file__}:{factory}",
                "kwargs": {"images": images},
                "transform": shades.RIGHT,
            },
            model={"factory": f"{shades.__file__}:ShadesNetwork"},
            shards={"images": 8, **changes},
            significance={},
        )
    )


def _answers(prepared, **kwargs):
    return sampled_answers(prepared.model, prepared.images, prepared.layers.convention, **kwargs)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_they_are_the_networks_own(batch_size):
    prepared = prepare(tiny_run(shards={"images": 8, "batch_size": batch_size}))
    predicted, target = _answers(prepared)
    with torch.no_grad():
        expected = TinyNetwork().eval()(Noise().images).argmax(1).numpy()
    pairs = sorted(zip(expected, Noise().targets, strict=True))
    assert sorted(zip(predicted, target, strict=True)) == pairs


def test_all_classes_of_a_sorted_set_are_in_the_first_images():
    predicted, target = _answers(_shades(images=3000), seconds=0)
    assert len(target) == 4
    assert len(set(target)) > 1
    np.testing.assert_array_equal(predicted, target)


def test_a_large_set_is_sampled():
    predicted, target = _answers(_shades(images=3000), seconds=60)
    assert len(predicted) == MOST_IMAGES
    # Evenly spread over classes of 1,000 images each.
    assert np.bincount(target).tolist() == [86, 85, 85]


def test_groups_of_classes_count_as_their_data_set_says():
    predicted, target = _answers(_shades("PairsOfShades"))
    np.testing.assert_array_equal(predicted, target)
    assert set(target) == {0, 1}


def test_images_that_cannot_be_read_are_left_out():
    run = tiny_run("Unreadable", {"broken": [18]})
    images = run.images.model_copy(update={"unreadable": 0.5})
    _, target = _answers(prepare(run.model_copy(update={"images": images})))
    assert len(target) == 29
