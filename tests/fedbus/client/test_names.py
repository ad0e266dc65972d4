"""Names on the command line: an invalid one is rejected before any request."""

import pytest
from typer.testing import CliRunner

from fedbus.cli.exit_codes import USAGE
from fedbus.cli.main import app
from fedbus.client.names import job_id, model_name
from fedbus.errors import SettingsError
from fedbus.scalars import IDENT_SAID

BAD = ["+", "#", "a/b", "a b", "$SYS", "", "a\n", "a\x1b[31m", "größe", "x" * 65, ".hidden", "-x"]


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_is_none_is_refused_with_the_rule(name: str) -> None:
    """It would be a wildcard, another topic, another file, or unclear to a service."""
    for check, what in ((job_id, "no job's id"), (model_name, "no model's name")):
        with pytest.raises(SettingsError) as refused:
            check(name)
        assert what in str(refused.value)
        assert str(refused.value).endswith(IDENT_SAID)
        assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["a", "digits-1", "v1.2_x", "0", "x" * 64])
def test_a_name_is_taken_as_it_is(name: str) -> None:
    """Upper and lower case, digits, and three signs."""
    assert job_id(name) == model_name(name) == name


@pytest.mark.parametrize(
    "command",
    ["job show", "job watch", "job cancel", "models show", "models pull", "infer"],
)
def test_every_command_that_takes_a_name_judges_it_first(command: str) -> None:
    """`job show +` would show another user's job."""
    more = ["x.json"] if command == "infer" else []
    broker = ["--broker", "mqtt://127.0.0.1:1"]  # no broker listens there
    result = CliRunner().invoke(app, [*broker, *command.split(), "+", *more])
    assert result.exit_code == USAGE
    assert "'+' is no " in result.stderr
