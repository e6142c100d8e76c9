import re

import pytest
from control_groups import controls
from pages import without_data

from ddp_tasks.report import controls_section, page


def told(stored):
    context, plots = controls_section.run_section(stored)
    written = page.fragment("controls.html.jinja", "section", plots, {}, **context)
    return re.sub(r"\s+", " ", without_data(str(written.html)))


@pytest.fixture(scope="module")
def text():
    return told(controls(rivals=("nmf",)))


def test_the_section_counts_layers_for_every_measure(text):
    assert "<h2>Are they real?</h2>" in text
    assert "20 random rotations of the singular vectors, 20 more that keep" in text
    row = (
        '<td>equivalence classes</td> <td class="number first">1 of 3</td>'
        '<td class="number">1</td> <td class="number">50</td> '
        '<td class="number first">0 of 3</td><td class="number">2</td> <td class="number">0</td>'
    )
    assert row in text


def test_only_what_is_beyond_the_95th_percentile_is_bold(text):
    of_layer = {
        name: re.search(f'<td title="{name}">{name}</td>(.*?)</tr>', text)[1]
        for name in ("special", "poor", "plain", "rank one")
    }
    assert of_layer["special"].count("<strong>21</strong>&ensp;") == 11
    assert '<span class="soft">100 | 0</span>' in of_layer["special"]
    for name in ("poor", "plain", "rank one"):
        assert "<strong>" not in of_layer[name]
    assert '<span class="soft">— | —</span>' in of_layer["rank one"]
    assert 'title="channels 22, principal components 23, median rotation 10.50"' in text


def test_chance_and_rivals_are_told(text):
    assert "labels permuted 99 times" in text
    assert (
        '<td class="number first">21</td><td class="number">0</td><td class="number">0.01</td>'
        in text
    )
    assert "non-negative matrix factorisation (3 of 4 layers)" in text


def test_what_was_not_drawn_is_not_spoken_of():
    bare = controls().isel(draw=slice(0, 0), permutation=slice(0, 0))
    for name in ("percentile", "percentile_variance", "permutation_p"):
        bare[name] = bare[name] * float("nan")
    bare.attrs.update(rotations=0, permutations=0)
    text = told(bare)
    assert "random rotations of the singular vectors" not in text
    assert "There are no rotations to compare" in text
    assert "By chance" not in text
    assert "Rivals" not in text
