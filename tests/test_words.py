"""Tests of the word list's checker, `.ci/words.py`."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.page_commands import ROOT

WORDS_PY = ROOT / ".ci" / "words.py"


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    """Load the script, which lies in no package."""
    spec = importlib.util.spec_from_file_location("words_checker", WORDS_PY)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def found(checker: ModuleType, text: str, name: str = "file.py") -> list[tuple[int, str]]:
    """Return line and word of each finding."""
    findings = checker.findings(Path(name), text, checker.load())
    return [(each.line, each.word) for each in findings]


def test_a_word_is_found_in_docstrings_comments_and_strings_with_its_line(
    checker: ModuleType,
) -> None:
    """The line is that of the word, not that of the docstring."""
    text = '"""Orders.\n\nSent anew."""\nx = 1  # Nobody reads it.\ny = "kept for ever"\n'
    assert found(checker, text) == [(3, "anew"), (4, "Nobody"), (5, "for ever")]


def test_a_phrase_is_found_across_a_line_break(checker: ModuleType) -> None:
    """Comments are wrapped, and a phrase would hide there."""
    assert found(checker, "# It is kept for\n# ever.\n") == [(1, "for ever")]
    assert found(checker, "It is kept for\never.\n", "page.md") == [(1, "for ever")]


def test_parts_of_words_are_not_looked_at(checker: ModuleType) -> None:
    """Only whole words are listed."""
    assert found(checker, 'def quiet():\n    """Suppress hushing."""\n') == []


def test_a_word_in_the_name_of_a_function_or_class_is_found(checker: ModuleType) -> None:
    """A test's name is a sentence, and a reader searches for a name."""
    text = "def test_nobody_waits():\n    pass\n\n\nclass Errand:\n    pass\n"
    assert found(checker, text) == [
        (1, "nobody in test_nobody_waits"),
        (5, "errand in Errand"),
    ]


def test_a_docstring_that_says_say_is_found(checker: ModuleType) -> None:
    """Also a module's that starts with a question."""
    text = '"""What is here."""\n\n\ndef f():\n    """Tell if it is."""\n'
    assert found(checker, text) == [(1, "What …"), (5, "Tell …")]


def test_the_paths_called_clean_are_clean() -> None:
    """`make lint` runs the same."""
    command = [sys.executable, str(WORDS_PY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0, done.stderr


def test_a_finding_names_the_file_the_line_and_the_plain_word(checker: ModuleType) -> None:
    """Editors jump to file:line."""
    (each,) = checker.findings(Path("page.md"), "It starts\nafresh.\n", checker.load())
    assert str(each) == "page.md:2: 'afresh'; write: again, from the start"
