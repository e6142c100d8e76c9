import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddp_tasks.significance.splits import part_names, split_images


@given(
    st.lists(st.integers(2, 30), min_size=1, max_size=6),
    st.floats(0.05, 0.95),
    st.integers(0, 2**31),
)
def test_every_class_is_split_in_the_share_asked_for(sizes, share, seed):
    target = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    part = split_images(target, share, seed)
    for c, size in enumerate(sizes):
        choosing = int((part[target == c] == 0).sum())
        assert 1 <= choosing <= size - 1
        assert abs(choosing - share * size) <= 1
    assert (part == split_images(target, share, seed)).all()


def test_the_split_of_a_class_does_not_depend_on_other_classes_or_on_images_that_count_nowhere():
    target = np.repeat([0, 1, 2], 20)
    alone = split_images(np.full(20, 1), 0.5, 3)
    together = split_images(target, 0.5, 3)
    assert (together[target == 1] == alone).all()
    with_unread = split_images(np.insert(target, 25, -1), 0.5, 3)
    assert (np.delete(with_unread, 25) == together).all()


def test_seeds_draw_different_images():
    target = np.repeat([0, 1], 50)
    assert (split_images(target, 0.5, 0) != split_images(target, 0.5, 1)).any()


def test_no_share_splits_nothing():
    assert not split_images(np.array([0, 1, 1]), None, 0).any()
    assert part_names(1) == ("all",)
    assert part_names(2) == ("selection", "estimation")


def test_a_class_of_one_image_is_refused():
    with pytest.raises(ValueError, match="class 1 has 1 image"):
        split_images(np.array([0, 0, 1]), 0.5, 0)
