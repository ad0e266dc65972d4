"""`fedbus tokens` writes the file that services read, and shows a token once."""

import json
from pathlib import Path

from typer.testing import CliRunner

from fedbus.cli.main import app
from fedbus.http_api.token_file import load_tokens
from fedbus.http_api.tokens import find_token

RUNNER = CliRunner()


def run(*line: str, code: int = 0, file: Path | None = None) -> str:
    """Run a command and return its output."""
    env = {"COLUMNS": "300", **({} if file is None else {"FEDBUS_HTTP_TOKENS_FILE": str(file)})}
    done = RUNNER.invoke(app, ["tokens", *line], env=env)
    assert done.exit_code == code, (done.output, done.exception)
    return done.output if code == 0 else str(done.exception or done.output)


def test_a_token_is_made_listed_and_revoked(tmp_path: Path) -> None:
    """The file has its digest only; the setting of the services names the file."""
    file = tmp_path / "tokens"
    made = json.loads(run("new", "ci", "models:read", "jobs:write", "--json", file=file))
    assert (made["name"], made["scopes"]) == ("ci", ["jobs:write", "models:read"])
    assert made["token"] not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    found = find_token(load_tokens(file), made["token"])
    assert found is not None
    assert found.scopes == {"models:read", "jobs:write"}
    plain = run("new", "robot", "inference", "--file", str(file))
    assert [line for line in plain.splitlines() if line.startswith("fedbus_")]
    assert "this is the only time it is shown" in plain
    assert "ci  models:read jobs:write" in run("list", "--file", str(file))
    listed = json.loads(run("list", "--file", str(file), "--json"))
    assert listed == [
        {"name": "ci", "scopes": ["jobs:write", "models:read"]},
        {"name": "robot", "scopes": ["inference"]},
    ]
    assert "Token ci is no longer accepted" in run("revoke", "ci", "--file", str(file))
    assert json.loads(run("revoke", "robot", "--file", str(file), "--json"))["revoked"] is True
    assert load_tokens(file) == ()
    assert "has no tokens" in run("list", "--file", str(file))


def test_mistakes_change_nothing(tmp_path: Path) -> None:
    """Each message says what there is."""
    file = tmp_path / "tokens"
    for line in (
        ["new", "ci", "models:raed"],
        ["new", "-ci-", "models:read"],
        ["new", "ci"],
        ["list"],
        ["revoke", "ci"],
    ):
        assert RUNNER.invoke(app, ["tokens", *line, "--file", str(file)]).exit_code != 0
        assert not file.exists()
    run("new", "ci", "models:read", file=file)
    before = file.read_bytes()
    for line, sentence in (
        (["new", "ci", "jobs:read"], "there is a token ci; choose another name"),
        (["revoke", "cd"], "there is no token cd; there is ci"),
    ):
        done = RUNNER.invoke(app, ["tokens", *line, "--file", str(file)])
        assert done.exit_code != 0
        assert sentence in f"{done.exception} {done.output}"
        assert file.read_bytes() == before
