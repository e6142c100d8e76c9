import pytest

from ddp_tasks.images.unreadable import Unreadable, unreadable_sentence
from schemas import RunError


def test_as_many_as_allowed_are_borne_and_one_more_is_not():
    unreadable = Unreadable(0.01, 200)
    unreadable.add({"a": "no file"})
    unreadable.add({"b": "no picture", "a": "no file"})
    assert len(unreadable) == unreadable.allowed == 2
    with pytest.raises(RunError) as refusal:
        unreadable.add({"c": "no file"})
    assert str(refusal.value) == (
        "3 images cannot be read: a (no file); b (no picture); c (no file). That is more than "
        "images.unreadable = 0.01 of the run's 200 images allows, 2: repair them, or allow a "
        "greater share"
    )
    assert refusal.value.change == ("images.unreadable",)


@pytest.mark.parametrize(
    ("share", "images", "allowed"), [(0, 10, 0), (0.01, 99, 0), (0.29, 100, 29), (0.01, 1000, 10)]
)
def test_the_share_is_of_all_images_rounded_down(share, images, allowed):
    assert Unreadable(share, images).allowed == allowed


def test_the_first_are_named_and_the_others_counted():
    reasons = {f"{i}": "gone" for i in range(1003)}
    assert (
        unreadable_sentence(reasons, named=2)
        == "1,003 images cannot be read: 0 (gone); 1 (gone); and 1,001 more"
    )
    assert unreadable_sentence({"x": "gone"}) == "1 image cannot be read: x (gone)"
