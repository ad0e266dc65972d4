"""Text and tables on terminals of any width."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.cli.output.tables import (
    fits,
    format_blocks,
    format_table,
    least_widths,
    without_empty,
    wrap_lines,
)

WORDS = st.text("abc `", min_size=1, max_size=60)


@pytest.mark.parametrize("width", [10, 20, 40, 100])
def test_what_is_to_be_copied_is_never_broken(width: int) -> None:
    """Neither a command in a sentence nor one on a line of its own; only prose is."""
    command = "`fedbus job submit examples/digits/job.json --watch`"
    line = "  mosquitto_rr $(fedbus env --mosquitto) -e replies/me -t submit -m x"
    said = wrap_lines(f"in another terminal, {command}, or else type this:\n{line}\n", width)
    assert command in said
    assert line in said.split("\n")
    prose = [one for one in said.split("\n") if command not in one and one != line]
    assert max(map(len, prose)) <= max(width, len("terminal,"))


def test_a_pipe_gets_every_sentence_in_one_line() -> None:
    """And backticks that do not close break nothing."""
    assert wrap_lines("a `b c\nd", None) == "a `b c\nd"
    assert wrap_lines("aaaa `bbbb cccc", 5) == "aaaa\n`bbbb\ncccc"
    assert wrap_lines("", 5) == ""


@given(WORDS, st.integers(1, 30))
def test_wrapping_loses_no_word(text: str, width: int) -> None:
    """Whatever stands in backticks, closed or not."""
    if not text.startswith(" "):
        assert wrap_lines(text, width).split() == text.split()


def test_a_table_fits_where_its_longest_words_do() -> None:
    """Two blanks between columns; a cell may break between its words."""
    columns, rows = ("NODE", "KNOWS"), [["agent.evaluator", "tflite 2.14.0  torch 2"]]
    assert least_widths(columns, rows) == [15, 6]
    assert fits(columns, rows, 23)
    assert not fits(columns, rows, 22)
    assert fits(("A", "B"), [], 4)


def test_columns_that_say_nothing_are_left_out() -> None:
    """But never the first, which names the row."""
    columns, rows = ["A", "B", "C"], [["", "", "c"], ["", "", ""]]
    assert without_empty(columns, rows) == (["A", "C"], [["", "c"], ["", ""]])


def test_a_block_names_what_a_row_says() -> None:
    """And leaves out what it does not."""
    rows = [["a", "online", "", "x y"], ["b", "", "", ""]]
    said = format_blocks(("NODE", "STATE", "TASK", "MEMORY"), rows)
    assert said == "a\n  state   online\n  memory  x y\nb"
    assert format_blocks(("NODE",), [["a"]]) == "a"


COLUMNS = ("NODE", "KNOWS", "MEMORY", "WHY")
ROW = ["agent.evaluator", "tflite 2.14.0  torch 2.13.0+cpu", "22.5 GiB", ""]


def test_a_table_is_as_wide_as_it_must_be() -> None:
    """Columns below their names, and no blanks at the end of a line."""
    assert format_table(("A", "LONG"), [["bbb", "c"], ["", "d"]], 80) == [
        "A    LONG",
        "bbb  c",
        "     d",
    ]
    assert format_table(("A",), [], 80) == ["A"]


def test_cells_break_between_words_where_the_table_is_too_wide() -> None:
    """The widest gives way first, and none is cut off at the edge of the terminal."""
    assert format_table(COLUMNS, [ROW], 45) == [
        "NODE             KNOWS          MEMORY    WHY",
        "agent.evaluator  tflite 2.14.0  22.5 GiB",
        "                 torch",
        "                 2.13.0+cpu",
    ]
    assert format_table(COLUMNS, [ROW], 42)[1:] == [
        "agent.evaluator  tflite       22.5",
        "                 2.14.0       GiB",
        "                 torch",
        "                 2.13.0+cpu",
    ]


@given(
    st.lists(st.lists(st.text("ab ", max_size=12), min_size=3, max_size=3), max_size=3),
    st.integers(1, 60),
)
def test_a_table_that_fits_is_never_wider_than_the_terminal(
    rows: list[list[str]], width: int
) -> None:
    """And nothing of it is lost."""
    columns = ("NODE", "STATE", "TASK")
    if fits(columns, rows, width):
        lines = format_table(columns, rows, width)
        assert max(map(len, lines)) <= width
        words = sorted(word for row in (columns, *rows) for cell in row for word in cell.split())
        assert sorted(word for line in lines for word in line.split()) == words


def test_what_may_be_cut_ends_with_its_line() -> None:
    """A long reason, which the job itself tells in full."""
    reason = "because " * 20
    columns, rows = ("JOB", "REASON"), [["first", reason.strip()], ["second", "short"]]
    assert format_table(columns, rows, 30, "REASON") == [
        "JOB     REASON",
        "first   because because becau…",
        "second  short",
    ]
    assert format_table(columns, rows, 5, "REASON")[1] == "first   because because…"
