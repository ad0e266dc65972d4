"""Columnar files, read in pieces; a fault is named by its row and its column."""

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.data import Dataset, arrays
from fedbus.data.loaders.parquet import parquet
from fedbus.errors import TrainingError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(autouse=True)
def _streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "KEPT_BYTES", 0)


def written(folder: Path, **columns: Any) -> str:  # noqa: ANN401 - whatever a column holds
    """Write a file with several row groups."""
    path = folder / "table.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return str(path)


def whole(data: Dataset) -> tuple[Any, Any]:
    """Read all rows."""
    parts = list(data.peek())
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def test_a_table_is_read_column_by_column(tmp_path: Path) -> None:
    """Numbers and truth values; the last one is y, a class where its type is whole."""
    path = written(tmp_path, a=[1, 2, 3, 4], b=[0.5, 1, 1.5, 2], c=[True, False] * 2, y=[0, 1] * 2)
    data = parquet(path, batch=3)
    assert data.examples == 4
    x, y = whole(data)
    assert x.tolist() == [[1, 0.5, 1], [2, 1, 0], [3, 1.5, 1], [4, 2, 0]]
    assert (x.dtype, y.dtype, y.tolist()) == (np.float32, np.int64, [0, 1, 0, 1])
    x, y = whole(parquet(path, label="b", features=["y", "a"]))
    assert x.tolist() == [[0, 1], [1, 2], [0, 3], [1, 4]]
    assert (y.dtype, y.tolist()) == (np.float32, [0.5, 1, 1.5, 2])
    assert whole(parquet(path, target="number"))[1].dtype == np.float32


def test_a_column_of_lists_gives_many_inputs(tmp_path: Path) -> None:
    """All of one length, or its row is named."""
    path = written(tmp_path, pixels=[[1, 2], [3, 4], [5, 6], [7, 8]], extra=[9] * 4, y=[0] * 4)
    assert whole(parquet(path, batch=3))[0].tolist() == [
        [1, 2, 9],
        [3, 4, 9],
        [5, 6, 9],
        [7, 8, 9],
    ]
    path = written(tmp_path, pixels=[[1, 2], [3], [5, 6]], y=[0] * 3)
    with pytest.raises(TrainingError, match=r"row 1 .*column 'pixels': a list of 1; .* have 2"):
        whole(parquet(path))
    path = written(tmp_path, pixels=[[1, 2], [3, None], [5, 6]], y=[0] * 3)
    with pytest.raises(TrainingError, match=r"row 1 .*'pixels'.*nothing where a number belongs"):
        whole(parquet(path))
    path = written(tmp_path, pixels=[["a"], ["b"]], y=[0] * 2)
    with pytest.raises(TrainingError, match=r"column 'pixels': list<.*string>, not numbers"):
        whole(parquet(path))
    path = written(tmp_path, pixels=[[1.0, 2.0], [3.0, float("nan")]], y=[0] * 2)
    with pytest.raises(TrainingError, match=r"column 'pixels': \[1, 1\] is nan"):
        whole(parquet(path))


def test_words_are_classes_where_they_are_numbered(tmp_path: Path) -> None:
    """As in a text file."""
    path = written(tmp_path, a=[1, 2], kind=["cat", "dog"])
    assert whole(parquet(path, classes=["dog", "cat"]))[1].tolist() == [1, 0]
    with pytest.raises(TrainingError, match=r"row 1 .*column 'kind': no class 'dog'"):
        whole(parquet(path, classes=["cat"]))
    assert parquet(path).info.classes == ("cat", "dog")
    with pytest.raises(TrainingError, match=r"column 'kind': string values, .*\"classes\""):
        parquet(path, target="number")


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"a": [1, 2, 3, None], "y": [0] * 4}, r"row 3 .*column 'a': nothing where a value"),
        ({"a": [1.0, 2, 3, float("inf")], "y": [0] * 4}, r"row 3 .*'a': inf where a finite"),
        ({"a": [1, 2, 3, 4], "y": [0, 1, 2, None]}, r"row 3 .*column 'y': nothing"),
        (
            {"a": ["x"], "y": [0]},
            'column \'a\': string values, not numbers; .*"words": {"a": "auto"}',
        ),
        ({"a": [date(2024, 5, 1)], "y": [0]}, r"column 'a': date32\[day\] values: dates and times"),
        ({"a": [datetime(2024, 5, 1)], "y": [0]}, r"'a': timestamp\[us\] values: dates and times"),  # noqa: DTZ001 - as files have them
        ({"a": [1], "y": [date(2024, 5, 1)]}, r"column 'y': date32\[day\] values: dates and times"),
        ({"a": [{"b": 1}], "y": [0]}, r"column 'a': struct<.*>, not numbers; leave the column out"),
        ({"a": [[[1]]], "y": [0]}, r"column 'a': list<.*>, not numbers; leave the column out"),
        ({"a": [b"x"], "y": [0]}, "column 'a': binary, not numbers"),
        ({"a": [None], "y": [0]}, "column 'a': null, not numbers"),
        ({"a": [1.0, float("nan")], "y": [0, 0]}, r"'a': nan where .* set \"missing\""),
        ({"a": [1] * 30, "y": [f"dev-{n}" for n in range(30)]}, "30 different words in 30 rows"),
        ({"a": [], "y": []}, "the data set has no rows"),
        ({"y": [1]}, "x nothing"),
    ],
)
def test_a_fault_is_named_by_its_place(
    tmp_path: Path, columns: dict[str, Any], sentence: str
) -> None:
    """Counted from 0, as tables are."""
    with pytest.raises(TrainingError, match=sentence):
        whole(parquet(written(tmp_path, **columns), batch=2))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """It is unknown which of them is meant."""
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([0])], ["a", "a", "y"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(TrainingError, match="columns named twice: a"):
        parquet(str(tmp_path / "t.parquet"))


def test_the_row_index_of_pandas_is_no_column(tmp_path: Path) -> None:
    """Its metadata names it; older files have only the name that it gave."""
    path = tmp_path / "frame.parquet"
    table = pa.table({"temp": [1.5, 2.5], "kind": [0, 1], "place": [7, 9]})
    meta = {"index_columns": ["place"], "columns": []}
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(meta)}), path)
    data = parquet(str(path))
    assert (whole(data)[0].tolist(), data.info.columns) == ([[1.5], [2.5]], ("temp",))
    assert data.info.notes == (
        "column 'place' is left out: a row index, or without a name (\"features\" can name it)",
    )
    assert whole(parquet(str(path), features=["place"], label="kind"))[0].tolist() == [[7], [9]]
    for said in ('{"index_columns": [{"kind": "range"}]}', "[]", "{", '{"index_columns": 3}'):
        pq.write_table(table.replace_schema_metadata({"pandas": said}), path)
        assert parquet(str(path)).info.columns == ("temp", "kind")
    old = written(tmp_path, a=[1], y=[0], __index_level_0__=[4])
    assert parquet(old).info.columns == ("a",)


def test_types_that_hold_numbers_are_read_as_such(tmp_path: Path) -> None:
    """Decimals, dictionaries, lists of a fixed size, half floats; words with a vocabulary."""
    path = written(
        tmp_path,
        price=pa.array([Decimal("1.50"), Decimal("2.25")]),
        code=pa.array([7, 9]).dictionary_encode(),
        pair=pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)),
        half=pa.array(np.array([0.5, 1], np.float16)),
        kind=pa.array(["cat", "dog"]).dictionary_encode(),
    )
    data = parquet(path)
    assert whole(data)[0].tolist() == [[1.5, 7, 1, 2, 0.5], [2.25, 9, 3, 4, 1]]
    assert (data.info.classes, data.info.columns) == (("cat", "dog"), ())
    path = written(tmp_path, colour=["red", "blue", None], n=[1, 2, 3], y=[0, 1, 0])
    all_: list[Any] = ["auto", {"colour": "auto"}, {"colour": ["blue", "red"]}]
    for words in all_:
        data = parquet(path, words=words, missing=0)
        assert data.info.columns == ("colour=blue", "colour=red", "n")
        assert whole(data)[0].tolist() == [[0, 1, 1], [1, 0, 2], [0, 0, 3]]
    with pytest.raises(TrainingError, match=r"row 2 .*column 'colour': nothing where a value"):
        whole(parquet(path, words="auto"))
    with pytest.raises(TrainingError, match="column 'colour': no word 'red'"):
        whole(parquet(path, words={"colour": ["blue"]}, missing=0))


def test_missing_values_become_what_their_owner_says(tmp_path: Path) -> None:
    """Nulls and NaN alike."""
    columns = {"a": [1.0, None, 3.0, float("nan")], "b": [1, 2, None, 4], "y": [0, 1, 0, 1]}
    path = written(tmp_path, **columns)
    mean = parquet(path, missing="mean", batch=3)
    assert whole(mean)[0].tolist() == [[1, 1], [2, 2], [3, np.float32(7 / 3)], [2, 4]]
    assert mean.info.missing == {"a": 2, "b": 1}
    assert mean.info.notes == ("3 missing values became the column's mean (2 in 'a', 1 in 'b')",)
    gone = parquet(path, missing="drop", batch=1)
    assert (gone.examples, whole(gone)[0].tolist()) == (1, [[1, 1]])
    assert gone.info.notes == ("3 rows with a missing value are left out",)
    assert whole(parquet(path, missing=-1))[0].tolist() == [[1, 1], [-1, 2], [3, -1], [-1, 4]]
    gap = written(tmp_path, a=[1, 2], y=[0, None])
    with pytest.raises(TrainingError, match=r"row 1 .*column 'y': nothing .* to \"drop\" to"):
        whole(parquet(gap, missing=0))
    assert whole(parquet(gap, missing="drop"))[1].tolist() == [0]
    with pytest.raises(TrainingError, match="every row has a missing value"):
        parquet(written(tmp_path, a=[float("nan")], y=[0]), missing="drop")
    with pytest.raises(TrainingError, match="column 'a': not a single value to take the mean of"):
        parquet(written(tmp_path, a=[float("nan")], y=[0]), missing="mean")


def test_classes_in_a_column_of_quantities_must_be_whole(tmp_path: Path) -> None:
    """Pandas writes whole numbers as floats where a value was missing once."""
    path = written(tmp_path, a=[1, 2], y=[0.0, 3.0])
    assert whole(parquet(path, target="class"))[1].dtype == np.int64
    path = written(tmp_path, a=[1, 2], y=[0, -5])
    assert whole(parquet(path))[1].tolist() == [0, -5]
    with pytest.raises(TrainingError, match=r"row 1 .*column 'y': -5 is no class: it is 0 or more"):
        whole(parquet(path, target="class"))
    path = written(tmp_path, a=[1, 2], y=[0.0, 0.5])
    with pytest.raises(TrainingError, match=r"row 1 .*column 'y': 0.5 is no class"):
        whole(parquet(path, target="class"))


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """With its name."""
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1 torn")
    with pytest.raises(TrainingError, match=r"table\.parquet: not a parquet file"):
        parquet(str(path))
