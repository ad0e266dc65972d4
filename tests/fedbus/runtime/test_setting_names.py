"""Variables that nothing reads."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from fedbus.cli.main import app
from fedbus.errors import SettingsError
from fedbus.runtime.known_settings import KNOWN
from fedbus.runtime.setting_names import PREFIX, RENAMED, refuse_misspelt, unknown_settings


def told(**environ: str) -> list[str]:
    """What is said of an environment."""
    return [str(one) for one in unknown_settings(environ)]


def test_every_setting_is_known_to_every_service() -> None:
    """A shell or container often holds those of several."""
    assert told(FEDBUS_KEEP_VERSIONS="3", FEDBUS_DATA="x", FEDBUS_SLOTS="9", HOME="/root") == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("FEDBUS_PIPELIN", "FEDBUS_PIPELINE"),
        ("FEDBUS_DATAA", "FEDBUS_DATA"),
        ("FEDBUS_BROKR", "FEDBUS_BROKER"),
        ("FEDBUS_PASSWORDFILE", "FEDBUS_PASSWORD_FILE"),
        ("FEDBUS_HEARTBEAT_SECS", "FEDBUS_HEARTBEAT_SECONDS"),
        ("FEDBUS_LOGLEVEL", "FEDBUS_LOG_LEVEL"),
        ("FEDBUS_ROLE", "FEDBUS_ROLES"),
        ("FEDBUS_HEARTBEAT", "FEDBUS_HEARTBEAT_SECONDS"),
        ("FEDBUS_STALL", "FEDBUS_STALL_SECONDS"),
        ("FEDBUS_PLUGIN", "FEDBUS_PLUGINS"),
        ("FEDBUS_NODE", "FEDBUS_NAME"),
        ("FEDBUS_PASSWORD", "FEDBUS_PASSWORD_FILE"),
        ("FEDBUS_URL", "FEDBUS_BROKER"),
        ("fedbus_name", "FEDBUS_NAME"),
        ("FEBDUS_NAME", "FEDBUS_NAME"),
        ("FEDBUZ_DATA", "FEDBUS_DATA"),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_one_that_is_meant(written: str, meant: str) -> None:
    """A pipeline, a login or a role must not be left out without notice."""
    with pytest.raises(
        SettingsError, match=f"^{written} is not a setting; did you mean {meant}[?]$"
    ):
        refuse_misspelt({written: "x", "FEDBUS_HTTP": "h:1"})


def test_all_that_is_misspelt_is_said_at_once() -> None:
    """One start for each would be tedious."""
    with pytest.raises(SettingsError, match=r"FEDBUS_DATAA .*; FEDBUS_ROLE "):
        refuse_misspelt({"FEDBUS_ROLE": "train", "FEDBUS_DATAA": "x"})


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_earlier_name_of_a_setting_is_refused_with_the_present_one(old: str, new: str) -> None:
    """An ignored setting would fall back to its default without notice."""
    assert PREFIX + new in KNOWN
    assert PREFIX + old not in KNOWN
    with pytest.raises(SettingsError, match=f"^FEDBUS_{old} is now FEDBUS_{new}$"):
        refuse_misspelt({f"FEDBUS_{old}": "9"})


def test_what_is_like_no_setting_is_only_said() -> None:
    """It may be the name that a plug-in or a person chose for something of theirs."""
    (one,) = refuse_misspelt({"FEDBUS_QUARTZ": "x"})
    assert str(one) == "FEDBUS_QUARTZ is not a setting; docs/settings.md lists them all"


def test_what_is_empty_or_a_services_own_is_not_said() -> None:
    """An empty value counts as none, as for settings that exist."""
    assert told(FEDBUS_PIPELIN="") == []
    assert refuse_misspelt({"FEDBUS_DATAA": "x"}, frozenset({"FEDBUS_DATAA"})) == []


def test_what_kubernetes_sets_by_itself_is_not_said() -> None:
    """A Service called fedbus-broker puts these into every container of its namespace."""
    assert told(
        FEDBUS_BROKER_SERVICE_HOST="10.0.0.1",
        FEDBUS_BROKER_SERVICE_PORT="1883",
        FEDBUS_BROKER_SERVICE_PORT_MQTT="1883",
        FEDBUS_BROKER_PORT="tcp://10.0.0.1:1883",
        FEDBUS_BROKER_PORT_1883_TCP="tcp://10.0.0.1:1883",
        FEDBUS_BROKER_PORT_1883_TCP_ADDR="10.0.0.1",
    ) == []  # fmt: skip
    assert told(FEDBUS_NAMEPORT="1883") != []


@pytest.mark.parametrize("service", ["collector", "controller", "inference", "repository"])
def test_a_service_does_not_start_with_a_misspelt_setting(service: str) -> None:
    """It exits 2 with a sentence, as for a bad value."""
    pytest.importorskip(f"fedbus_{service}")
    done = subprocess.run(
        [sys.executable, "-m", f"fedbus_{service}"],
        env={**os.environ, "FEDBUS_HEARTBEAT": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"fedbus-{service}: FEDBUS_HEARTBEAT is not a setting; did you mean "
        "FEDBUS_HEARTBEAT_SECONDS?\n"
    )


def test_the_command_warns_and_goes_on() -> None:
    """A person is there to read it."""
    result = CliRunner().invoke(app, ["plugins", "--json"], env={"FEDBUS_PLUGIN": "all"})
    assert result.exit_code == 0
    assert "warning: FEDBUS_PLUGIN is not a setting; did you mean FEDBUS_PLUGINS?" in result.stderr
