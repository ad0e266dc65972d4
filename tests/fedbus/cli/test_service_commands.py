"""Commands of other packages, and what is said where such a package is missing."""

import pytest
from typer.testing import CliRunner

from fedbus.cli import service_commands
from fedbus.cli.exit_codes import USAGE
from fedbus.cli.main import app


@pytest.mark.parametrize("words", [(), ("check",), ("backup", "a", "b", "--json")])
def test_a_command_without_its_package_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """With a subcommand and its options, too, and not that there is no such subcommand."""
    monkeypatch.setattr(service_commands, "entry_points", lambda **_: ())
    done = CliRunner().invoke(app, ["store", *words], env={"COLUMNS": "200"})
    assert done.exit_code == USAGE
    assert "`fedbus store` needs the package fedbus-repository: pip install" in done.output


def test_the_help_of_a_command_without_its_package_says_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It cannot list subcommands."""
    monkeypatch.setattr(service_commands, "entry_points", lambda **_: ())
    done = CliRunner().invoke(app, ["store", "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "needs the package fedbus-repository" in done.output
