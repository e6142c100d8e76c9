import itertools

from hypothesis import given
from hypothesis import strategies as st

from ddp_tasks.figures.level_order import crossings, fewest_crossings


@st.composite
def levelled(draw):
    """Rows of numbers and lines between neighbouring rows."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    numbers = iter(range(sum(sizes)))
    rows = [[next(numbers) for _ in range(size)] for size in sizes]
    neighbours = [[] for _ in range(sum(sizes))]
    for upper, lower in itertools.pairwise(rows):
        for n, m in draw(st.sets(st.sampled_from([*itertools.product(upper, lower)]))):
            neighbours[n].append(m)
            neighbours[m].append(n)
    return rows, neighbours


def _crossings(rows, neighbours):
    """Of every two lines between the same rows, whether their ends stand in opposite orders."""
    count = 0
    for upper, lower in itertools.pairwise(rows):
        lines = [
            (upper.index(n), lower.index(m)) for n in upper for m in neighbours[n] if m in lower
        ]
        count += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in itertools.combinations(lines, 2))
    return count


def _below(rows, neighbours):
    at = {n: number for number, row in enumerate(rows) for n in row}
    return [[m for m in near if at[m] > at[n]] for n, near in enumerate(neighbours)]


@given(levelled())
def test_crossings_are_those_of_every_two_lines(drawn):
    rows, neighbours = drawn
    assert crossings(rows, _below(rows, neighbours)) == _crossings(rows, neighbours)


@given(levelled())
def test_every_row_keeps_its_numbers_and_no_line_crosses_more(drawn):
    rows, neighbours = drawn
    ordered = fewest_crossings(rows, neighbours)
    assert [sorted(row) for row in ordered] == [sorted(row) for row in rows]
    assert _crossings(ordered, neighbours) <= _crossings(rows, neighbours)


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_lines_that_need_not_cross_do_not(upper, lower):
    # Three rows of six, each number joined with one above and one below.
    rows = [list(upper), [n + 6 for n in lower], [n + 12 for n in upper]]
    neighbours = [[n + 6] for n in range(6)]
    neighbours += [[n, n + 12] for n in range(6)] + [[n + 6] for n in range(6)]
    assert _crossings(fewest_crossings(rows, neighbours), neighbours) == 0
