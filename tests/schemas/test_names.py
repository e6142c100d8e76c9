"""Names that people gave, as names of files: one file each, inside the folder, none alike."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.names import LONGEST, file_name, group_path
from schemas.variables import declared

#: Names of every kind seen or feared; hypothesis adds its own.
ODD = [
    "features/0/Conv",
    "/etc/passwd",
    "../../up",
    ".",
    "..",
    "",
    ".hidden",
    "__reserved",
    "zarr.json",
    "ZARR.JSON",
    "a b",
    "straße",
    "层",
    "%2F",
    "~",
    "\x00",
    "\ud800",
    "C:\\x",
    "x" * 300,
    "x" * 299 + "y",
    "层" * 300,
    "a\nb",
]

names = st.one_of(
    st.sampled_from(ODD),
    st.text(max_size=400),
    st.text("./_%~Aa0é", max_size=8),
    st.text("層/", min_size=20, max_size=60),
)


@pytest.mark.parametrize("name", ["conv1", "layer3.7.conv1", "fc@2", "a-b_c", "Conv"])
def test_an_ordinary_name_stays_as_it_is(name):
    assert file_name(name) == name
    assert group_path("decomposition", name) == f"decomposition/{name}"


@given(names, names)
@example("a/b", "a%2Fb")
@example("x" * 300, file_name("x" * 300))
@example("", "~")
@example(".a", "%2Ea")
def test_no_two_names_are_written_alike(one, other):
    assert (file_name(one) == file_name(other)) == (one == other)


@given(names)
def test_a_name_is_one_file_inside_its_folder(name):
    written = file_name(name)
    assert 0 < len(written.encode()) <= LONGEST
    assert os.path.normpath(f"folder/{written}") == f"folder/{written}"
    assert Path("folder", written).parent == Path("folder")
    assert not written.startswith((".", "__"))
    assert written.lower() != "zarr.json"
    assert declared(group_path("hypergraphs", name)) is declared("hypergraphs/conv1")


@pytest.mark.parametrize("name", ODD)
def test_every_odd_name_can_be_made_in_a_folder(tmp_path, name):
    (tmp_path / f"steps-{file_name(name)}-{file_name(name)}.html").touch()
    (tmp_path / file_name(name)).mkdir()
    assert len(list(tmp_path.iterdir())) == 2
