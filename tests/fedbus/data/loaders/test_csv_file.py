"""Text files of numbers: every fault is named by its line and its column."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.data import Dataset, arrays
from fedbus.data import categories as vocabularies
from fedbus.data.loaders import csv_rows
from fedbus.data.loaders.csv_file import csv
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


def test_the_last_column_is_the_class_by_default(tmp_path: Path) -> None:
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


def test_lists_in_errors_keep_the_order_of_the_file_and_of_the_settings(tmp_path: Path) -> None:
    """The place of a class is its number, and that of a column is where to look for it."""
    path = written(tmp_path, "0.3,-0.5,0.1,1\n1,2,3,0\n")
    with pytest.raises(TrainingError, match=r"4 columns: 0\.3, -0\.5, 0\.1, 1\)"):
        csv(path)
    path = written(tmp_path, "x,b,a,kind\n1,2,3,plum\n")
    with pytest.raises(TrainingError, match=r"the classes are pear, apple$"):
        csv(path, classes=["pear", "apple"])
    with pytest.raises(TrainingError, match=r"no column 'lost'; it has x, b, a, kind$"):
        csv(path, label="lost")


def test_words_are_classes_where_they_are_numbered(tmp_path: Path) -> None:
    """By their place in a list that all agents share."""
    path = written(tmp_path, "x,kind\n1,setosa\n2, virginica \n")
    assert whole(csv(path, classes=["virginica", "setosa"]))[1].tolist() == [1, 0]
    with pytest.raises(
        TrainingError, match=r"line 3, column 'kind': no class 'virginica'; the classes are setosa"
    ):
        csv(path, classes=["setosa"])
    assert csv(path).info.classes == ("setosa", "virginica")
    with pytest.raises(TrainingError, match=r"line 2, column 'kind': 'setosa' .*\"classes\""):
        csv(path, target="number")
    with pytest.raises(TrainingError, match="a list of different names"):
        csv(path, classes=["a", "a"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,y\n1,0\n2,1\nx1,0\n", "line 4, column 'a': 'x1' where a finite number belongs"),
        ("a,y\n1,0\n,1\n", "line 3, column 'a': nothing where a finite number belongs"),
        ("a,y\n1,0\nnan,1\n", "line 3, column 'a': 'nan' where .* set \"missing\" to \"drop\""),
        ("a,y\n1,0\n-inf,1\n", "line 3, column 'a': '-inf' where .*infinity is no measurement"),
        ("a,y\n1,0\n1_000,1\n", "line 3, column 'a': '1_000' where .*thousands are not read"),
        ('a,y\n1,0\n"1,234.5",1\n', "'1,234.5' where .*thousands are not read; write 1234.5$"),
        ('a,y\n1,0\n"1,234",1\n', '\'1,234\' where .*thousands .*or set "decimal": ","'),
        ("a;y\n1;0\n1,25;1\n", "line 3, column 'a': '1,25' where .*set \"decimal\": \",\""),
        ("a,y\n1,0\n2024-05-01,1\n", "column 'a': '2024-05-01' where .*dates and times"),
        ("a,y\n1,2024-05-01\n", "line 2, column 'y': '2024-05-01' where .*dates and times"),
        ("a,y\n1,0\n12:30,1\n", "column 'a': '12:30' where .*dates and times"),
        ("a,y\n1,0\nred,1\n", '\'red\' where .*set "words": {"a": \\["red", …\\]}, or "auto"'),
        ("a,y\n1,\n", 'line 2, column \'y\': nothing where a class or .*"missing": "drop"'),
        ("5.1,3.5,oak\n4.9,3,elm\n", "line 1: '5.1' where the name .* \"header\": false"),
        ("oak,5.1\nelm,4.9\n", "line 1: '5.1' where the name"),
        (b"PK\x03\x04 ", "a zip archive or an Excel workbook; export the sheet as CSV"),
        (b"\x1f\x8b\x08 ", "packed by gzip; unpack it"),
        ("a,y\n1,0\n".encode("utf-16"), 'UTF-16; set "encoding": "utf-16"'),
        ("a,y\n1,0\n".encode("utf-32"), 'UTF-32; set "encoding": "utf-32"'),
        ("a,y\n1,0\n".encode("utf-16-le"), "it holds NUL"),
        (",,\n1,2,3\n", "line 2: '1' where the name of a column"),
        ("a,y\n1,0\n1e39,1\n", "line 3, column 'a': '1e39' where a finite number belongs"),
        ("a,y\n1,0\n1\n", "line 3: 1 cells; there are 2 columns"),
        ("a,y\n1,0\n1,2,3\n", "line 3: 3 cells; there are 2 columns"),
        ('a,y\n"1\n",0\n2,no\n', "line 4, column 'y': 'no' where"),
        ("a,a\n1,0\n", "line 1: columns named twice: a"),
        ('a,y\n1,0\n"1" 2,0\n', "line 3: .*expected after"),
        (b"a,y\n1,\xff\n", "near line 1: not UTF-8: invalid.*latin-1"),
        ("", "not a single line"),
        ("a,y\n", "table.csv: the file has no rows"),
        ("y\n1\n", "one column only, cut at ',': 'y'; .*\"delimiter\""),
    ],
)
def test_a_fault_is_named_by_its_place(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    """So that its owner can go there and mend it."""
    with pytest.raises(TrainingError, match=sentence):
        csv(written(tmp_path, text))


def test_a_table_is_read_as_spreadsheets_and_pandas_write_it(tmp_path: Path) -> None:
    """The delimiter is detected; empty cells at the end and a row index are no data."""
    for text in (
        "a;b;y\r\n1;2;0\r\n3;4;1\r\n",
        "a\tb\ty\n1\t2\t0\n3\t4\t1\n",
        "a|b|y\n1|2|0\n3|4|1\n",
        '"a, the first";b;y\n1;2;0\n3;4;1\n',
        "sep=;\na;b;y\n1;2;0\n3;4;1\n",
        "\ufeffa,b,y,,\n1,2,0,,\r\n,,,,\n3,4,1\r\n  \n",
        'a, "b", y\n"1", 2, 0\n 3,"4",1\r1,2,0\r'.replace("\r1,2,0\r", "\r"),
        ",a,b,y\n0,1,2,0\n7,3,4,1\n",
        "Unnamed: 0.1,Unnamed: 0,a,b,y\n0,0,1,2,0\n7,7,3,4,1\n",
        "a,b,y\n1,2,false\n3,4,TRUE\n",
    ):
        x, y = whole(csv(written(tmp_path, text)))
        assert (x.tolist(), y.tolist()) == ([[1, 2], [3, 4]], [0, 1]), text
    info = csv(written(tmp_path, ",a,y\n0,1,0\n")).info
    assert info.columns == ("a",)
    assert info.notes == (
        'column number 0 is left out: a row index, or without a name ("features" can name it)',
    )
    named = csv(written(tmp_path, "Unnamed: 0,a,y\n5,1,0\n"), features=["a", "Unnamed: 0"])
    assert (whole(named)[0].tolist(), named.info.notes) == ([[1, 5]], ())
    years = written(tmp_path, "2019,2020,y\n1,2,0\n")
    assert whole(csv(years, header=True))[0].tolist() == [[1, 2]]


def test_numbers_of_classes_may_have_names(tmp_path: Path) -> None:
    """A table of ids is held to one list as well; where a name is a number, it is that name."""
    path = written(tmp_path, "a,y\n1,1\n2,0\n")
    data = csv(path, classes=["ok", "scrap"])
    assert (whole(data)[1].tolist(), data.info.classes) == ([1, 0], ("ok", "scrap"))
    assert whole(csv(path, classes=["1", "0"]))[1].tolist() == [0, 1]
    with pytest.raises(TrainingError, match="line 2, column 'y': no class '1'; the classes are ok"):
        csv(path, classes=["ok"])


def test_the_delimiter_of_long_lines_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a look at the first lines, the last one is cut off somewhere."""
    monkeypatch.setattr(csv_rows, "_SAMPLE_CHARACTERS", 3000)
    for columns in (20, 100):
        line = ";".join(["0"] * columns)
        names = ";".join(f"c{n}, mm" for n in range(columns))
        data = csv(written(tmp_path, f"{names}\n" + f"{line}\n" * 25))
        assert whole(data)[0].shape == (25, columns - 1)


def test_fractions_may_have_commas(tmp_path: Path) -> None:
    """As most of Europe writes them; a dot is no fraction then, and no separator is guessed at."""
    path = written(tmp_path, "a;y\n1,5;0\n-2,25e1;1\n")
    assert whole(csv(path, decimal=","))[0].tolist() == [[1.5], [-22.5]]
    with pytest.raises(TrainingError, match=r"'1\.234' where .*thousands"):
        csv(written(tmp_path, "a;y\n1.234;0\n"), decimal=",")
    with pytest.raises(TrainingError, match=r"'1\.5' where .*\"decimal\" is \",\""):
        csv(written(tmp_path, "a;y\n1.5;0\n"), decimal=",")
    with pytest.raises(TrainingError, match='"decimal" and "delimiter" are both'):
        csv(written(tmp_path, "a,y\n1,0\n"), decimal=",")
    with pytest.raises(TrainingError, match="decimal is ';'"):
        csv(path, decimal=";")


def test_an_encoding_is_named_by_the_owner(tmp_path: Path) -> None:
    """It cannot be told from the bytes; what is no encoding of text is refused."""
    for encoding in ("utf-16", "latin-1", "cp1252"):
        path = written(tmp_path, "é,art\n1,müde\n2,wach\n".encode(encoding))
        data = csv(path, encoding=encoding)
        assert (data.info.columns, data.info.classes) == (("é",), ("müde", "wach"))
    with pytest.raises(TrainingError, match="encoding is 'rot13'"):
        csv(path, encoding="rot13")


def test_missing_values_become_what_their_owner_says(tmp_path: Path) -> None:
    """A row less, the mean, a number; and it is said how many there were."""
    path = written(tmp_path, "a,b,y\n1,,0\n3,4,1\nNA,8,0\n5,6,?\n")
    gone = csv(path, missing="drop")
    assert (gone.examples, whole(gone)[0].tolist()) == (1, [[3, 4]])
    assert gone.info.notes == ("3 rows with a missing value are left out",)
    one = csv(written(tmp_path, "a,y\n1,0\n,1\n"), missing="drop")
    assert one.info.notes == ("1 row with a missing value is left out",)
    path = written(tmp_path, "a,b,y\n1,,0\n3,4,1\nNA,8,0\n")
    mean = csv(path, missing="mean")
    assert whole(mean)[0].tolist() == [[1, 6], [3, 4], [2, 8]]
    assert mean.info.missing == {"a": 1, "b": 1}
    assert mean.info.notes == ("2 missing values became the column's mean (1 in 'b', 1 in 'a')",)
    assert whole(csv(path, missing=-1))[0].tolist() == [[1, -1], [3, 4], [-1, 8]]
    for bad in ("median", True, float("inf")):
        with pytest.raises(TrainingError, match='expected "drop", "mean" or a number'):
            csv(path, missing=bad)  # type: ignore[arg-type] # as a setting may have it
    with pytest.raises(TrainingError, match="column 'a': not a single value to take the mean of"):
        csv(written(tmp_path, "a,b,y\n,1,0\n,2,1\n"), missing="mean")
    with pytest.raises(TrainingError, match="the file has no rows, none without a missing value"):
        csv(written(tmp_path, "a,y\n,0\n"), missing="drop")
    with pytest.raises(TrainingError, match="line 3, column 'y': nothing where a class"):
        csv(written(tmp_path, "a,y\n1,0\n2,\n"), missing=0)


def test_words_become_one_input_each(tmp_path: Path) -> None:
    """By a vocabulary that is announced with the columns, so that agents can be compared."""
    path = written(tmp_path, "colour,n,y\nred,1,0\nblue,2,1\nred,,0\n")
    data = csv(path, words={"colour": ["red", "green", "blue"]}, missing=0)
    assert data.info.columns == ("colour=red", "colour=green", "colour=blue", "n")
    assert whole(data)[0].tolist() == [[1, 0, 0, 1], [0, 0, 1, 2], [1, 0, 0, 0]]
    both: list[Any] = ["auto", {"colour": "auto"}]
    assert csv(path, words="auto", missing="mean").info.notes == (
        "1 missing value became the column's mean (1 in 'n')",
    )
    for words in both:
        found = csv(path, words=words, missing=0)
        assert found.info.columns == ("colour=blue", "colour=red", "n")
    (tmp_path / "zips").mkdir()
    note = "1 missing value became no word (1 in 'zip')"
    zips = csv(
        written(tmp_path / "zips", "zip,y\n10,0\n9,1\n,1\n"), words={"zip": "auto"}, missing=0
    )
    assert whole(zips)[0].tolist() == [[1, 0], [0, 1], [0, 0]]
    assert zips.info.notes == (note,)
    for bad, sentence in (
        ({"colour": ["red"]}, "line 3, column 'colour': no word 'blue'; the words are red"),
        ({"sort": "auto"}, "words: no column 'sort'; there are colour, n, y"),
        ({"colour": []}, r"words.colour is \[\]"),
        (["colour"], 'expected "auto" or'),
        ({"colour": ["a" * 129]}, "at most 128 characters"),
    ):
        with pytest.raises(TrainingError, match=sentence):
            csv(path, words=bad, missing=0)  # type: ignore[arg-type] # as a setting may have it


def test_identifiers_and_texts_are_no_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column with a word of its own in most rows says nothing that can be learnt."""
    rows_ = "".join(f"{n}.5,dev-{n}\n" for n in range(30))
    with pytest.raises(TrainingError, match="column 'id': 30 different words in 30 rows"):
        csv(written(tmp_path, f"a,id\n{rows_}"))
    monkeypatch.setattr(vocabularies, "MAX_WORDS", 5)
    with pytest.raises(TrainingError, match="column 'id': more than 5 different words"):
        csv(written(tmp_path, f"a,id\n{rows_}"))
    with pytest.raises(TrainingError, match=r"column 'id': '.*' … different words"):
        csv(written(tmp_path, f"a,id\n1,{'x' * 200}\n"))


def test_y_is_not_guessed_where_another_column_is_called_so(tmp_path: Path) -> None:
    """Pictures in tables often have their label first: the last pixel would be y."""
    path = written(tmp_path, "label,1x1,1x2\n5,0,255\n3,1,2\n")
    with pytest.raises(TrainingError, match=r"last column, '1x2', and there is a column 'label'"):
        csv(path)
    assert whole(csv(path, label="label"))[1].tolist() == [5, 3]
    assert whole(csv(written(tmp_path, "y,a,target\n1,2,0\n")))[1].tolist() == [0]


def test_a_column_that_counts_the_rows_is_told_of(tmp_path: Path) -> None:
    """A row number is no measurement, and a model learns it by heart."""
    text = "id,a,y\n" + "".join(f"{n + 7},{n % 3},{n % 2}\n" for n in range(25))
    (note,) = csv(written(tmp_path, text)).info.notes
    assert note.startswith("column 'id' counts the rows; if it is no measurement, leave it out")


@given(
    st.lists(
        st.lists(
            st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[list[float]],
    delimiter: str,
    end: str,
    quoted: bool,
) -> None:
    """Whatever the numbers, the delimiter and the line ends are."""
    quote = '"' if quoted else ""
    lines = [["a", "b", "y"], *([*(f"{quote}{n!r}{quote}" for n in row), "0"] for row in table)]
    text = "".join(delimiter.join(cells) + end for cells in lines)
    path = written(tmp_path_factory.mktemp("csv"), text)
    np.testing.assert_array_equal(whole(csv(path))[0], np.array(table, np.float32))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """By no other exception than ours."""
    path = written(tmp_path_factory.mktemp("csv"), content)
    with suppress(TrainingError):
        assert np.isfinite(whole(csv(path, missing="drop", words="auto"))[0]).all()


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
    with pytest.raises(TrainingError, match='target is \'word\': expected "auto", "class"'):
        csv(path, target="word")  # type: ignore[arg-type] # as a setting may have it
    with pytest.raises(TrainingError, match='no column has a name; name y in "label"'):
        csv(written(tmp_path, ",Unnamed: 1\nx,2\n"))
    path = written(tmp_path, "a,b,y\n1,2,0\n")
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
    monkeypatch.setattr(arrays, "KEPT_BYTES", 0)
    path = written(tmp_path, "a,y\n1,0\n2,1\n3,0.5\n")
    with pytest.raises(TrainingError, match=r"line 4, column 'y': '0.5' is no class.*\"number\""):
        whole(csv(path, batch=2))
    assert whole(csv(path, batch=2, target="number"))[1].tolist() == [0, 1, 0.5]


def test_a_large_file_is_read_again_in_every_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was when it was loaded: a new one in its place waits, one written into is refused."""
    monkeypatch.setattr(arrays, "KEPT_BYTES", 0)
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
    with pytest.raises(TrainingError, match="changed while in use"):
        whole(data)
