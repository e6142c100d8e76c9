"""Groups of classes as people type them."""

import pytest

from ddp_tasks.explorer.class_groups import read_groups
from schemas.run_error import RunError

CLASSES = ["car", "cat", "dog", "tench, Tinca tinca", "truck"]


def test_a_line_is_a_group_of_names_and_globs():
    text = 'vehicles: car, truck\n\n pets :ca?, "tench, Tinca tinca"\n'
    with pytest.raises(RunError, match="'car' is in 'vehicles' and in 'pets'"):
        read_groups(text, CLASSES)
    assert read_groups(text.replace("ca?", "d*, cat, cat"), CLASSES) == {
        "vehicles": ["car", "truck"],
        "pets": ["dog", "cat", "tench, Tinca tinca"],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("car, truck", "NAME: CLASS"),
        (": car", "NAME: CLASS"),
        ("a:", "'a' names no class"),
        ("a: dgo", "no class 'dgo'.*dog"),
        ("a: x*", r"no class 'x\*'"),
        ("a: car\na: dog", "'a' is given twice"),
    ],
)
def test_lines_that_cannot_be_read_are_refused(text, words):
    with pytest.raises(RunError, match=words):
        read_groups(text, CLASSES)
