"""Tables, progress and units on a terminal and in a pipe."""

import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from fedbus.cli.output import display


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 * 2**20, "5.0 MiB"),
        (2**50, "1048576.0 GiB"),
    ],
)
def test_sizes_are_said_as_people_say_them(count: int, said: str) -> None:
    """With a unit that leaves few digits."""
    assert display.format_size(count) == said


def test_the_accuracy_is_the_first_metric_and_a_share() -> None:
    """It is what people look for; training metrics come last."""
    found = {"train_accuracy": 1.0, "loss": 0.30828, "accuracy": 0.91364}
    assert display.format_metrics(found) == "accuracy 91.4 %  loss 0.3083  train_accuracy 100.0 %"


def test_no_metric_is_rounded_onto_a_target_that_it_has_not_reached() -> None:
    """Beside "at least 0.9 was asked", 0.8997 must not be 90.0 %, nor a loss of 0.30004 be 0.3."""
    assert display.format_metric("accuracy", 0.8997) == "89.97 %"
    assert display.format_metric("train_recall", 0.99999) == "99.999 %"
    assert display.format_metric("train_loss", 0.30004) == "0.3001"
    assert display.format_metric("cosine_similarity", 0.30009) == "0.3"


def test_held_out_metrics_are_preferred_to_training_metrics() -> None:
    """And training metrics to none."""
    assert display.format_held_out({"accuracy": 0.9, "train_accuracy": 1.0}) == "accuracy 90.0 %"
    assert display.format_held_out({"train_accuracy": 1.0}) == "train_accuracy 100.0 %"


def test_a_digit_is_drawn_row_by_row() -> None:
    """White paper, black ink, and nothing beyond the shades there are."""
    assert display.draw_digit([0.0, 1.0, 0.5, 2.0], width=2) == "  @@\n==@@"


def test_a_table_for_a_pipe_is_for_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """A program, or grep, reads all of it; a cell is one, whatever it holds."""
    reason = "because " * 30
    display.print_table(("JOB", "REASON"), [("a", reason), ("b\tc\n", None)], nothing="no jobs")
    assert capsys.readouterr().out == f"JOB\tREASON\na\t{reason}\nb c \t\n"


def test_a_long_reason_ends_with_the_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """One job took a screen; pipes and --json have all of it."""
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=40, highlight=False)
    monkeypatch.setattr(display, "out", lambda: terminal)
    display.print_table(("JOB", "REASON"), [("a", "because " * 30)], nothing="", cut="REASON")
    lines = screen.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[1].rstrip().endswith("…")


def test_an_empty_table_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """A header without rows leaves people guessing."""
    display.print_table(("JOB",), [], nothing="no jobs yet; submit one")
    assert capsys.readouterr().out == "no jobs yet; submit one\n"


WORDS = "config[0].lr: [bold]no[/bold] facsyn:x:"
"""None of them a style, nor a picture."""


def test_what_a_service_says_is_never_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """On either stream, in sentences and in tables."""
    display.show(WORDS)
    display.err().print(WORDS)
    display.print_table(("KEY",), [(WORDS,)], nothing="")
    assert capsys.readouterr() == (f"{WORDS}\nKEY\n{WORDS}\n", f"{WORDS}\n")


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """As terminals say."""
        return True


@pytest.mark.parametrize(
    "shown",
    [
        lambda: display.print_table(("KEY",), [(WORDS,)], nothing=""),
        lambda: display.status(WORDS).__enter__(),
        lambda: display.progress(WORDS, 2).__enter__(),
        lambda: display.progress("", 2).__enter__()(WORDS),
    ],
)
def test_nor_is_it_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, shown: Callable[[], object]
) -> None:
    """In tables, beside wheels and bars."""
    screen = Screen()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", "200")
    shown()
    assert WORDS in screen.getvalue()


def test_json_for_programs_keeps_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    """One object, or one object a line."""
    display.print_json({"a": "é"})
    display.print_line({"a": "é"})
    assert capsys.readouterr().out == '{\n  "a": "é"\n}\n{"a": "é"}\n'


def test_a_wheel_turns_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log must not be filled with it."""
    pipe = io.StringIO()
    monkeypatch.setattr(display, "out", lambda: Console(file=pipe))
    with display.status("starting") as tell:
        tell("more")
    assert pipe.getvalue() == ""
    terminal = io.StringIO()
    monkeypatch.setattr(display, "out", lambda: Console(file=terminal, force_terminal=True))
    with display.status("starting") as tell:
        tell("more [1]")
    assert "more [1]" in terminal.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_carried_for_long_has_a_bar_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    """A log must not be filled with it, and what is there at once needs none."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100, highlight=False)
    monkeypatch.setattr(display, "out", lambda: console)
    with display.transfer_progress("small", 1000) as moved:
        moved(1000)
    assert screen.getvalue() == ""
    with display.transfer_progress("mlp version 3", 2**30) as moved:
        moved(2**29)
    assert ("mlp version 3" in screen.getvalue()) is terminal
    assert ("GiB" in screen.getvalue()) is terminal


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is said stays on the screen; the bar does not."""
    with display.progress("3 agents", 2) as advance:
        advance("round 1 [of 2]")
    assert capsys.readouterr().out == "round 1 [of 2]\n"
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=80, highlight=False)
    monkeypatch.setattr(display, "out", lambda: terminal)
    with display.progress("3 agents", 2) as advance:
        advance("round 1 [of 2]")
    assert "round 1 [of 2]" in screen.getvalue()
    assert "50%" in screen.getvalue()


def test_a_sentence_is_wrapped_on_a_terminal_and_a_command_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However narrow it is."""
    screen = Screen()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", "20")
    display.show("one two three four five six `fedbus job submit job.json --watch`")
    display.print_verbatim("mosquitto_sub $(fedbus env --mosquitto) -v -t 'fedbus/v1/jobs/+/state'")
    assert screen.getvalue().splitlines() == [
        "one two three four",
        "five six",
        "`fedbus job submit job.json --watch`",
        "mosquitto_sub $(fedbus env --mosquitto) -v -t 'fedbus/v1/jobs/+/state'",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *((-3, "0s"), (0.9, "0s"), (119, "119s"), (120, "2min"), (7199, "119min"), (7200, "2h")),
        *((47 * 3600, "47h"), (48 * 3600, "2d"), (400 * 86400, "400d")),
    ],
)
def test_an_age_is_one_word(seconds: float, said: str) -> None:
    """Of two digits mostly; a clock that runs behind makes no age negative."""
    assert display.format_duration(seconds) == said


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        ("30", ["NODE     STATE    TASK", "agent.a  online", "agent.b  offline  digits-1"]),
        ("20", ["agent.a", "  state  online", "agent.b", "  state  offline", "  task   digits-1"]),
    ],
)
def test_a_table_that_does_not_fit_is_shown_row_by_row(
    monkeypatch: pytest.MonkeyPatch, width: str, shown: list[str]
) -> None:
    """No name is broken in two: a user who copies it gets all of it."""
    screen = Screen()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", width)
    rows = [("agent.a", "online", ""), ("agent.b", "offline", "digits-1")]
    display.print_table(("NODE", "STATE", "TASK"), rows, nothing="")
    text = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert [line.rstrip() for line in text.splitlines()] == shown
