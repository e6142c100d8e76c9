"""A table of attributes joined with images by id, and tables that are refused."""

import numpy as np
import pandas as pd
import pytest

from ddp_tasks.queries.attribute_tables import read_attributes
from schemas.parameters import RunError

IDS = [f"{i:04}" for i in range(40)]


def table(**columns):
    return pd.DataFrame({"id": IDS, "size": np.arange(40.0), **columns})


def written(frame, path):
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rows_are_joined_by_id_whatever_their_order(tmp_path, ending):
    frame = table(hairy=np.arange(40) % 2 == 0).sample(frac=1, random_state=0)
    read = read_attributes(written(frame, tmp_path / f"t.{ending}"), IDS, ())
    assert list(read.frame.columns) == ["size", "hairy"]
    assert read.frame["size"].tolist() == list(range(40))
    assert read.notes == ()
    choosing = np.arange(40) % 4 < 2
    made, notes = read.concepts(np.ones(40, dtype=bool), choosing)
    assert [name for of in made for name in of.names][-2:] == ["hairy", "not hairy"]
    assert notes == ()


def test_an_id_that_looks_like_a_number_or_like_nothing_stays_as_it_is(tmp_path):
    ids = ["007", "7", "NA", ""]
    path = tmp_path / "t.csv"
    path.write_text("id,x\n007,1\n7,2\nNA,3\n,\n")
    found = read_attributes(path, ids, ()).frame["x"].tolist()
    assert found[:3] == [1, 2, 3]
    assert np.isnan(found[3])


def test_rows_of_other_images_are_told(tmp_path):
    more = pd.concat([table(), pd.DataFrame({"id": ["x1", "x2"], "size": [1.0, 2.0]})])
    read = read_attributes(written(more, tmp_path / "t.csv"), IDS, ())
    assert read.notes == ("2 rows are of no image of the run: 'x1', 'x2'.",)
    assert len(read.frame) == 40


def test_columns_that_make_no_set_are_told_and_the_others_used(tmp_path):
    frame = table(same=3, nothing=None, word=[f"w{i}" for i in range(40)])
    read = read_attributes(written(frame, tmp_path / "t.csv"), IDS, ())
    made, notes = read.concepts(np.ones(40, dtype=bool), np.arange(40) % 2 == 0)
    assert len(made) == 1
    (note,) = notes
    assert "column 'same' has the value 3 alone" in note
    assert "column 'nothing' has no value" in note
    assert "column 'word' has no value of enough images" in note


def test_a_table_without_a_useful_column_is_refused(tmp_path):
    frame = table(same=3)[["id", "same"]]
    read = read_attributes(written(frame, tmp_path / "t.csv"), IDS, ())
    with pytest.raises(RunError, match="no column can describe a vector: column 'same' has the"):
        read.concepts(np.ones(40, dtype=bool), np.arange(40) % 2 == 0)


def test_columns_may_be_named(tmp_path):
    path = written(table(a=1, b=2), tmp_path / "t.csv")
    assert list(read_attributes(path, IDS, ["b"]).frame.columns) == ["b"]
    with pytest.raises(
        RunError, match=r"no column 'sice' \(did you mean 'size'\?\); columns: 'size'"
    ):
        read_attributes(path, IDS, ["sice"])


def missing_rows(frame):
    return frame[frame["id"].astype(int) % 4 > 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            missing_rows,
            r"no row for 10 of the run's 40 images: '0000', '0004', '0008', '0012', '0016', and 5 "
            "more",
        ),
        (
            lambda frame: frame.assign(id=frame["id"].astype(int)),
            r"no row for 40 .*; its ids of no image: '0', '1', '2', '3', '4', and 35 more",
        ),
        (
            lambda frame: pd.concat([frame, frame[:2]]),
            "2 ids in several rows: '0000', '0001'$",
        ),
        (lambda frame: frame.rename(columns={"id": "ID"}), "no column 'id'.*it has 'ID', 'size'"),
        (lambda frame: frame[["id"]], "no column beside 'id'"),
        (lambda frame: frame[:0], "has no row$"),
    ],
)
def test_tables_that_do_not_fit_are_refused_naming_how_many_and_which(tmp_path, change, message):
    path = written(change(table()), tmp_path / "t.csv")
    with pytest.raises(RunError, match=message) as refusal:
        read_attributes(path, IDS, ())
    assert "t.csv" in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "cannot be read: EmptyDataError"),
        ("t.csv", b"id,x\n\xff\xfe,1\n", "cannot be read: UnicodeDecodeError"),
        ("t.csv", b"id,x\na,1\nb,2,3,4\n", "cannot be read: ParserError"),
        ("t.parquet", b"no table", "cannot be read: ArrowInvalid"),
        ("t.txt", b"id\n", "the ending must be .csv or .parquet"),
        ("t.csv", None, "there is no file"),
    ],
)
def test_files_that_cannot_be_read_are_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError, match=message):
        read_attributes(tmp_path / name, IDS, ())
