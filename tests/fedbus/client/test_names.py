"""Names on the command line: an invalid one is rejected before any request."""

import pytest
from typer.testing import CliRunner

from fedbus.cli.exit_codes import USAGE
from fedbus.cli.main import app
from fedbus.client.names import job_id, model_name, version_choice, version_name
from fedbus.errors import SettingsError
from fedbus.scalars import IDENT_SAID
from fedbus.wire.version_choice import VersionChoice

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
    [
        *("job show", "job watch", "job cancel", "infer"),
        *("models show", "models pull", "models tag", "models untag", "models lineage"),
        *("models names", "models remove-alias"),
    ],
)
def test_every_command_that_takes_a_name_judges_it_first(command: str) -> None:
    """`job show +` would show another user's job."""
    takes_two = {"infer", "models tag", "models untag", "models remove-alias"}
    more = ["x.json"] if command in takes_two else []
    broker = ["--broker", "mqtt://127.0.0.1:1"]  # no broker listens there
    result = CliRunner().invoke(app, [*broker, *command.split(), "+", *more])
    assert result.exit_code == USAGE
    assert "'+' is no " in result.stderr


def test_a_version_is_stated_once_in_either_way() -> None:
    """In the word or beside it; a program may have a number."""
    assert version_choice("m@3") == version_choice("m", 3) == VersionChoice(model="m", version=3)
    assert version_choice("m@paper") == VersionChoice(model="m", name="paper")
    for word, version, reason in (
        ("m@3", 3, "a version is given twice"),
        ("m@paper", 3, "a version is given twice"),
        ("m", -1, "-1 is no version of model 'm'"),
        ("m", True, "True is no version of model 'm'"),
        ("m", "3", "'3' is no version of model 'm'"),
        ("m@0", None, "they count from 1"),
        (7, None, "'7' is no model's name"),
    ):
        with pytest.raises(SettingsError) as refused:
            version_choice(word, version)  # type: ignore[arg-type]  # what an untyped program gives
        assert reason in str(refused.value)


@pytest.mark.parametrize("name", [*BAD, "3", "latest"])
def test_a_name_that_no_version_can_have_is_refused(name: str) -> None:
    """`m@3` and `m@latest` have a meaning already."""
    with pytest.raises(SettingsError, match=r"is no name of a version|means a version already"):
        version_name(name)
    assert version_name("v3") == "v3"
    with pytest.raises(SettingsError, match="7 is no text"):
        version_name(7)  # type: ignore[arg-type]  # what an untyped program gives
