"""Text files of numbers: every fault is named by its line and its column."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.data import Dataset, rows
from fedbus.data.loaders.delimited import csv
from fedbus.errors import TrainingError


def written(folder: Path, text: str | bytes) -> str:
    """Write a file."""
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def whole(data: Dataset) -> tuple[Any, Any]:
    """Read all rows."""
    parts = list(data.peek())
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def test_the_last_column_is_the_class_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    """Inputs are float32, whole numbers in y are classes."""
    path = written(tmp_path, 'a,b,"the, class"\n1,2.5,0\n\n3,-4e1,2\n')
    x, y = whole(csv(path))
    assert x.tolist() == [[1, 2.5], [3, -40]]
    assert (x.dtype, y.dtype, y.tolist()) == (np.float32, np.int64, [0, 2])
    x, y = whole(csv(path, label="b", features=["the, class", 0]))
    assert x.tolist() == [[0, 1], [2, 3]]
    assert (y.dtype, y.tolist()) == (np.float32, [2.5, -40])


def test_a_file_without_names_is_read_where_its_owner_says_so(tmp_path: Path) -> None:
    """Else its first row would be lost without a word."""
    path = written(tmp_path, "1;2\n3;4\n")
    with pytest.raises(TrainingError, match=r'line 1: .* set "header": false'):
        csv(path, delimiter=";")
    x, y = whole(csv(path, delimiter=";", header=False, label=0))
    assert (x.tolist(), y.tolist()) == ([[2], [4]], [1, 3])


def test_words_are_classes_where_they_are_numbered(tmp_path: Path) -> None:
    """By their place in a list that all agents share."""
    path = written(tmp_path, "x,kind\n1,setosa\n2, virginica \n")
    assert whole(csv(path, classes=["virginica", "setosa"]))[1].tolist() == [1, 0]
    with pytest.raises(
        TrainingError, match=r"line 3, column 'kind': no class 'virginica'; the classes are setosa"
    ):
        csv(path, classes=["setosa"])
    with pytest.raises(TrainingError, match=r"line 2, column 'kind': 'setosa' .*\"classes\""):
        csv(path)
    with pytest.raises(TrainingError, match="a list of different names"):
        csv(path, classes=["a", "a"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,y\n1,0\n2,1\nx1,0\n", "line 4, column 'a': 'x1' where a finite number belongs"),
        ("a,y\n1,0\n,1\n", "line 3, column 'a': nothing where a finite number belongs"),
        ("a,y\n1,0\nnan,1\n", "line 3, column 'a': 'nan' where a finite number belongs"),
        ("a,y\n1,0\n1e39,1\n", "line 3, column 'a': '1e39' where a finite number belongs"),
        ("a,y\n1,0\n1\n", "line 3: 1 cells; there are 2 columns"),
        ("a,y\n1,0\n1,2,3\n", "line 3: 3 cells; there are 2 columns"),
        ('a,y\n"1\n",0\n2,no\n', "line 4, column 'y': 'no' where"),
        ("a,a\n1,0\n", "line 1: columns named twice: a"),
        ('a,y\n1,0\n"1" 2,0\n', "line 3: .*expected after"),
        (b"a,y\n1,\xff\n", "near line 1: not UTF-8: invalid"),
        ("", "not a single line"),
        ("a,y\n", "table.csv: the columns' names, and not a single row"),
        ("y\n1\n", "y is 'y' and x nothing"),
    ],
)
def test_a_fault_is_named_by_its_place(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    """So that its owner can go there and mend it."""
    with pytest.raises(TrainingError, match=sentence):
        csv(written(tmp_path, text))


def test_a_class_is_0_or_more(tmp_path: Path) -> None:
    """Where y is said to be classes; else -5 may be a quantity, which a loss like mse takes."""
    path = written(tmp_path, "a,y\n1,0\n2,-5\n")
    assert whole(csv(path))[1].tolist() == [0, -5]
    with pytest.raises(TrainingError, match="line 3, column 'y': '-5' is no class: it is 0 or"):
        whole(csv(path, target="class"))


def test_columns_and_options_that_are_not_there_are_named(tmp_path: Path) -> None:
    """With those that are."""
    path = written(tmp_path, "a,b,y\n1,2,0\n")
    with pytest.raises(TrainingError, match="no column 'c'; it has a, b, y"):
        csv(path, label="c")
    with pytest.raises(TrainingError, match="no column 3"):
        csv(path, features=[3])
    with pytest.raises(TrainingError, match="x needs columns of its own"):
        csv(path, features=["y", "a"])
    with pytest.raises(TrainingError, match="one character"):
        csv(path, delimiter="||")
    with pytest.raises(TrainingError, match="batch is 0"):
        csv(path, batch=0)
    with pytest.raises(TrainingError, match="No such file"):
        csv(str(tmp_path / "nowhere.csv"))
    with pytest.raises(TrainingError, match="not a file"):
        csv(str(tmp_path))


def test_a_quantity_late_in_a_file_of_classes_is_no_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What y is, is decided by its first rows, or by its owner; it does not change on the way."""
    monkeypatch.setattr(rows, "KEPT_BYTES", 0)
    path = written(tmp_path, "a,y\n1,0\n2,1\n3,0.5\n")
    with pytest.raises(TrainingError, match=r"line 4, column 'y': '0.5' is no class.*\"number\""):
        whole(csv(path, batch=2))
    assert whole(csv(path, batch=2, target="number"))[1].tolist() == [0, 1, 0.5]


def test_a_large_file_is_read_anew_in_every_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was when it was loaded: a new one in its place waits, one written into is refused."""
    monkeypatch.setattr(rows, "KEPT_BYTES", 0)
    path = written(tmp_path, "a,y\n" + "".join(f"{n},{n % 2}\n" for n in range(10)))
    data = csv(path, batch=4)
    assert data.examples == 10
    assert [len(y) for _, y in data.batches()] == [4, 4, 2]
    assert [len(y) for _, y in data.batches()] == [4, 4, 2]
    new = tmp_path / "new.csv"
    new.write_text("a,y\n7,7\n")
    new.rename(path)
    assert whole(data)[0].ravel().tolist() == list(range(10))
    assert whole(csv(path))[1].tolist() == [7]
    data = csv(path)
    Path(path).write_text("a,y\n1,1\n2,2\n")
    with pytest.raises(TrainingError, match="written to while it was in use"):
        whole(data)
