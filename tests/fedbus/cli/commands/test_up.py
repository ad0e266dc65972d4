"""Choices of `fedbus up` before anything is started."""

from pathlib import Path

import pytest

from fedbus.cli.commands.up import describe_http_apis, http_tokens
from fedbus.errors import SettingsError
from fedbus.http_api.token_file import change_tokens
from fedbus.http_api.tokens import HttpToken


def test_the_tokens_of_http_apis_are_read_before_a_cluster_is_started(tmp_path: Path) -> None:
    """A missing or open file is refused with what makes one; without the variable they are off."""
    file = tmp_path / "tokens"
    named = {"FEDBUS_HTTP_TOKENS_FILE": str(file)}
    with pytest.raises(SettingsError, match="fedbus tokens new"):
        http_tokens(named)
    change_tokens(file, lambda _: (HttpToken.of("me", ["inference"], "fedbus_" + "0" * 64),))
    assert http_tokens(named) == file
    assert http_tokens({"FEDBUS_HTTP_TOKENS_FILE": ""}) is None
    file.chmod(0o644)
    with pytest.raises(SettingsError, match=str(file)):
        http_tokens(named)


def test_a_cluster_says_whether_its_http_apis_are_on() -> None:
    """And how to turn them on."""
    assert "FEDBUS_HTTP_TOKENS_FILE=FILE fedbus up --http" in describe_http_apis(None)
    assert "take the tokens of /tokens" in describe_http_apis(Path("/tokens"))
