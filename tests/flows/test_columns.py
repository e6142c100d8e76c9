"""Tables of the terminal: columns that stand below each other, whatever a name holds."""

from rich.cells import cell_len

from flows.texts.columns import columns


def test_columns_stand_below_each_other_in_wide_characters_too():
    lines = columns(("layer", "rank", "kind"), [("层层", 9, "a"), ("[b]x[/b]", 10000, "b")])
    assert [line.split() for line in lines] == [
        ["layer", "rank", "kind"],
        ["层层", "9", "a"],
        ["[b]x[/b]", "10000", "b"],
    ]
    assert {
        cell_len(line[: line.rindex(last)]) for line, last in zip(lines, "kab", strict=True)
    } <= {17}


def test_long_cells_are_cut_and_lines_are_never_broken():
    (_, line) = columns(("name", "all"), [("x" * 300, "y" * 900)])
    assert len(line.split()[0]) == 100
    assert line.endswith("y" * 900)
    assert columns(("a", "b"), []) == ["a  b"]
