"""Tokens of HTTP APIs: their file, their scopes, and the comparison."""

import os
from pathlib import Path

import pytest

from fedbus.errors import SettingsError, StoreError
from fedbus.http_api.scopes import SCOPE_MEANINGS, SCOPES
from fedbus.http_api.token_file import TokenFile, change_tokens, load_tokens
from fedbus.http_api.tokens import (
    HttpToken,
    find_token,
    format_tokens,
    read_tokens,
    scope_of,
    token_of,
)

A, B = token_of(b"a" * 32), token_of(b"b" * 32)
FIRST = HttpToken.of("first", ["models:read", "jobs:read"], A)
SECOND = HttpToken.of("second", ["inference"], B)


def test_every_scope_has_a_meaning() -> None:
    """The page of the docs is made from them."""
    assert set(SCOPE_MEANINGS) == set(SCOPES)


def test_a_file_is_read_as_it_was_written() -> None:
    """It has digests only."""
    text = format_tokens([FIRST, SECOND])
    assert read_tokens(text) == (FIRST, SECOND)
    assert A not in text
    assert read_tokens("\n# nothing\n  \n") == ()


def test_the_token_that_was_sent_is_found() -> None:
    """And no other; a very long one is not hashed."""
    assert find_token((FIRST, SECOND), A) is FIRST
    assert find_token((FIRST, SECOND), B) is SECOND
    for wrong in ("", A[:-1], A + "x", FIRST.digest.hex(), "x" * 10_000, "\udc80"):
        assert find_token((FIRST, SECOND), wrong) is None


def test_a_token_needs_all_its_random_bytes() -> None:
    """A caller that passes fewer has a fault."""
    with pytest.raises(ValueError, match="expected 32 random bytes, got 8"):
        token_of(b"a" * 8)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("only two", "line 1: expected NAME SCOPES sha256:DIGEST, got 2 words"),
        (f"\n-x models:read sha256:{'0' * 64}", "line 2: the name is not 1 to 64"),
        (f"a models:raed sha256:{'0' * 64}", "'models:raed' is no scope; did you mean models:read"),
        (f"a zzz sha256:{'0' * 64}", "'zzz' is no scope; there are models:read, "),
        (f"a models:read {A}", "the token itself does not belong into this file"),
        (format_tokens([FIRST, FIRST]), "line 3: a second token of the name first"),
        (
            format_tokens([FIRST, HttpToken("third", FIRST.scopes, FIRST.digest)]),
            "line 3: this token is in the file already",
        ),
        (
            "\n".join(f"t{n} inference sha256:{n:064x}" for n in range(1001)),
            "line 1001: more than 1000 tokens",
        ),
    ],
)
def test_a_line_that_is_not_valid_is_named(text: str, sentence: str) -> None:
    """Without quoting what may be a token."""
    with pytest.raises(SettingsError) as refused:
        read_tokens(text)
    assert sentence in str(refused.value)
    assert A not in str(refused.value)


def test_a_scope_has_an_exact_name() -> None:
    """The nearest one is named."""
    assert scope_of("jobs:write") == "jobs:write"
    with pytest.raises(SettingsError, match="did you mean jobs:write"):
        scope_of("job:write")


def test_a_file_is_changed_in_one_step_and_read_again(tmp_path: Path) -> None:
    """A service sees the change; the file is private."""
    path = tmp_path / "tokens"
    change_tokens(path, lambda found: (*found, FIRST))
    assert path.stat().st_mode & 0o777 == 0o600
    file = TokenFile(path)
    assert file.tokens() == (FIRST,)
    assert file.is_current()
    change_tokens(path, lambda found: (*found, SECOND))
    assert not file.is_current()
    file.load()
    assert file.tokens() == (FIRST, SECOND)
    assert [each.name for each in tmp_path.iterdir()] == ["tokens"]


def test_while_a_file_cannot_be_read_no_token_is_accepted(tmp_path: Path) -> None:
    """Until it is mended."""
    path = tmp_path / "tokens"
    change_tokens(path, lambda _: (FIRST,))
    file = TokenFile(path)
    path.chmod(0o644)
    assert not file.is_current()
    file.load()
    with pytest.raises(SettingsError, match="mode is 0644, so other users can read"):
        file.tokens()
    path.chmod(0o600)
    assert not file.is_current()
    file.load()
    assert file.tokens() == (FIRST,)
    path.unlink()
    assert not file.is_current()
    file.load()
    with pytest.raises(SettingsError, match="no such file; make one with `fedbus tokens new"):
        file.tokens()
    assert not file.is_current()  # a file that is missing is looked for at each request


def test_a_file_that_is_no_tokens_file_is_refused(tmp_path: Path) -> None:
    """At the start, and before a command writes it."""
    path = tmp_path / "tokens"
    for content, sentence in (
        (b"x" * 300_000, "more than 262144 bytes"),
        ("ä".encode(), "not ASCII"),
        (b"one", "line 1: expected NAME"),
    ):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(SettingsError, match=sentence):
            TokenFile(path)
        with pytest.raises(SettingsError, match=sentence):
            load_tokens(path)
        with pytest.raises(SettingsError, match=sentence):
            change_tokens(path, lambda _: ())
        assert path.read_bytes() == content
    with pytest.raises(SettingsError, match="there is no folder"):
        change_tokens(tmp_path / "none" / "tokens", lambda _: ())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_leaves_the_file(tmp_path: Path) -> None:
    """The error has the path."""
    path = tmp_path / "tokens"
    change_tokens(path, lambda _: (FIRST,))
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="Permission denied"):
            change_tokens(path, lambda _: ())
    finally:
        tmp_path.chmod(0o700)
    assert load_tokens(path) == (FIRST,)
