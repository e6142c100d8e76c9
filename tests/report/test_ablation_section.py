import re

import pandas as pd
from ablation_groups import ablated
from pages import without_data

from ddp_tasks.report import ablation_section, page


def told(found):
    context, plots = ablation_section.run_section(found)
    written = page.fragment("ablation.html.jinja", "section", plots, {}, **context)
    return re.sub(r"\s+", " ", without_data(str(written.html)))


def vectors():
    columns = {
        "layer": "matters",
        "singular_vector": [0, 1],
        "change": "accuracy",
        "target_class": ["cat", "<b>dog"],
        "own_drop": [0.5, 0.2],
        "other_drop": [0.1, 0.1],
        "selectivity": [0.4, 0.1],
        "low": [0.2, -0.1],
        "high": [0.6, 0.3],
    }
    return pd.DataFrame(columns)


def test_the_section_tells_every_place_and_where_it_does_not_hold():
    text = told(ablation_section.Ablated(ablated(), vectors()))
    assert "up to 200 of the class and 90 of all others" in text
    assert "random directions of equal energy were removed" in text
    assert "It does not hold in 1 of 2 layers" in text
    assert "<td>q 0.8, p 60 %</td>" in text
    assert '<strong>+0.200</strong><br> <span class="soft">+0.10 to +0.30</span>' in text
    assert "-0.100<br>" in text
    assert "75 % of 12" in text
    # There are no matched singular values.
    assert '<td class="number first">—</td>' in text
    assert "1 of 2 singular vectors hurt one class more" in text
    assert "&lt;b&gt;dog" in text


def test_without_single_vectors_nothing_is_said_of_them():
    text = told(ablation_section.Ablated(ablated(), vectors().iloc[:0]))
    assert "Every vector by itself" not in text


def test_without_removals_there_is_no_section():
    assert told(None).strip() == ""
