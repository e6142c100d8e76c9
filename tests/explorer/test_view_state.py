"""Addresses of views: what they say, what they leave to the run, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddp_tasks.explorer.view_state import VIEWS, View, address_of, member_at
from ddp_tasks.weights.signed_vectors import SignedVector
from schemas.run_error import RunError

_TEXT = st.text(max_size=12)


@given(
    st.builds(
        View,
        view=st.sampled_from(list(VIEWS)),
        layer=_TEXT,
        q=_TEXT,
        groups=_TEXT,
        at=_TEXT,
        beside=_TEXT,
        point=_TEXT,
    )
)
def test_an_address_gives_the_view_that_it_was_made_from(view):
    assert View.of_query(view.query()) == view
    assert View.of_query(f"?{view.query()}") == view


def test_an_address_says_only_what_was_chosen():
    assert not View().query()
    assert View().changed({"layer": "fc 1/é", "q": "0.9"}).query() == "layer=fc+1%2F%C3%A9&q=0.9"


def test_what_no_view_has_is_left_out():
    assert View.of_query("layer=a&nonsense=1") == View(layer="a")


def test_another_thing_in_the_details_has_no_place_pointed_at():
    pointed = View(at="image:7", point="0.1,0.2")
    assert not pointed.changed({"at": "image:8"}).point
    assert pointed.changed({"q": "0.5"}).point == "0.1,0.2"


@pytest.mark.parametrize("name", ["q", "p"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "many", "1e9"])
def test_levels_out_of_range_are_refused_by_name(name, value):
    read = View.quantile if name == "q" else View.percentage
    with pytest.raises(RunError, match=f"'{value}' is refused"):
        read(View(**{name: value}))


def test_levels_that_an_address_leaves_out_are_the_runs_own():
    assert View().quantile() is None
    assert View().percentage() is None
    assert View().directions(("positive",)) == ("positive",)
    assert View(direction="both").directions(("positive",)) == ("positive", "negative")
    with pytest.raises(RunError, match="upwards"):
        View(direction="upwards").directions(("positive",))


@given(st.integers(0, 9999), st.sampled_from([1, -1]))
def test_an_address_names_a_vector_in_a_direction(vector, sign):
    member = SignedVector(vector, sign)
    assert member_at(address_of(member)) == member


@pytest.mark.parametrize("text", ["", "v", "v+", "85+", "v85", "v8x+", "class:v85+"])
def test_other_texts_name_no_vector(text):
    assert member_at(text) is None
