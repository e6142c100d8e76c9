"""A folder for results: what was laid into it beforehand is not followed."""

import pytest

from flows.output_folder import output_folder
from schemas.parameters import RunError


@pytest.mark.parametrize(
    "name", ["store.zarr", "store.zarr.part", "hypergraphs", "capacity.zarr", "run.lock"]
)
@pytest.mark.parametrize("leads", ["to a folder", "to a file", "nowhere"])
def test_a_link_in_the_place_of_results_is_refused_and_left_alone(tmp_path, name, leads):
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    if leads == "to a folder":
        victim.mkdir()
        (victim / "precious").write_text("kept")
    elif leads == "to a file":
        victim.write_text("kept")
    (out / name).symlink_to(victim)
    with pytest.raises(RunError, match=f"{name} is a link") as refused:
        output_folder(out)
    assert refused.value.change == ("out",)
    assert (out / name).is_symlink()
    if leads == "to a folder":
        assert [file.name for file in victim.iterdir()] == ["precious"]


def test_a_folder_that_is_itself_a_link_is_the_folder_that_it_leads_to(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert output_folder(tmp_path / "link") == (tmp_path / "real").resolve()
