"""Token authentication of the agent's HTTP API."""

from pathlib import Path

import pytest

from fedbus.errors import SettingsError
from fedbus_edge_agent.http.auth import TokenAuth, read_token_auth

TOKEN = "0123456789abcdef"
HERE = "127.0.0.1:9050"


def test_without_a_token_the_api_is_off(tmp_path: Path) -> None:
    """With any address; and a token without an address turns nothing on."""
    assert read_token_auth(HERE, None, None, wide_open=False) is None
    assert read_token_auth(None, TOKEN, None, wide_open=False) is None
    assert read_token_auth(None, None, None, wide_open=True) is None
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert read_token_auth("0.0.0.0:9050", None, file, wide_open=False) == TokenAuth(TOKEN)
    assert read_token_auth(HERE, TOKEN, None, wide_open=False) == TokenAuth(TOKEN)
    assert read_token_auth(HERE, None, None, wide_open=True) == TokenAuth(None)
    assert read_token_auth("localhost:9050", None, None, wide_open=True) == TokenAuth(None)
    assert TOKEN not in repr(TokenAuth(TOKEN))


@pytest.mark.parametrize(
    ("http", "token", "text", "wide_open", "sentence"),
    [
        (HERE, TOKEN, TOKEN, False, "FEDBUS_HTTP_TOKEN and FEDBUS_HTTP_TOKEN_FILE: set one"),
        (HERE, "short", None, False, "FEDBUS_HTTP_TOKEN: expected at least 16 letters"),
        (
            HERE,
            None,
            "with spaces in it, long",
            False,
            "FEDBUS_HTTP_TOKEN_FILE: expected at least 16",
        ),
        (HERE, None, "\u00e4" * 20, False, "FEDBUS_HTTP_TOKEN_FILE: .* not ASCII"),
        (HERE, None, None, False, "FEDBUS_HTTP_TOKEN_FILE: .*No such file"),
        (HERE, TOKEN, None, True, "FEDBUS_HTTP_OPEN=true, but there is a token"),
        ("0.0.0.0:9050", None, None, True, "other machines can reach 0.0.0.0:9050"),
        ("example.org:9050", None, None, True, "other machines can reach example.org:9050"),
    ],
)
def test_settings_that_would_allow_access_without_a_token_are_refused(
    *,
    tmp_path: Path,
    http: str,
    token: str | None,
    text: str | None,
    wide_open: bool,
    sentence: str,
) -> None:
    """At the start, and the message does not quote the token."""
    file = tmp_path / "token"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    named = None if wide_open or (token and text is None) else file
    with pytest.raises(SettingsError, match=sentence) as refused:
        read_token_auth(http, token, named, wide_open=wide_open)
    assert "short" not in str(refused.value)


@pytest.mark.parametrize(
    ("authorization", "admitted"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer  {TOKEN} ", True),
        ("", False),
        (TOKEN, False),
        (f"Basic {TOKEN}", False),
        (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False),
        ("Bearer \udc80", False),
    ],
)
def test_only_requests_with_the_token_are_allowed(authorization: str, admitted: bool) -> None:
    """From any host; the reason does not quote the token."""
    refusal = TokenAuth(TOKEN).refusal(authorization, "example.org", "http://example.org")
    assert TOKEN not in (refusal or "")
    how = "was sent; send this agent's token in the header Authorization: Bearer TOKEN"
    expected = f"{'another' if authorization else 'no'} token {how}"
    assert refusal == (None if admitted else expected)


@pytest.mark.parametrize(
    ("host", "origin", "admitted"),
    [
        (HERE, None, True),
        ("localhost:9050", None, True),
        ("localhost", None, True),
        ("[::1]:9050", None, True),
        ("evil.example:9050", None, False),
        ("", None, False),
        (HERE, "http://evil.example", False),
        (HERE, "null", False),
    ],
)
def test_no_web_page_uses_an_agent_without_a_token(
    host: str, origin: str | None, admitted: bool
) -> None:
    """Neither with its origin nor with a host name that resolves to this machine."""
    assert (TokenAuth(None).refusal("", host, origin) is None) == admitted
