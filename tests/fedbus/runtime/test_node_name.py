"""Node names of services."""

import pytest

from fedbus.errors import SettingsError
from fedbus.runtime.node_name import names_a_node, node_name
from fedbus.runtime.settings import ServiceSettings, settings_from


@pytest.mark.parametrize("role", ["agent", "collector", "controller", "inference", "repository"])
def test_a_login_of_its_own_names_a_service(role: str) -> None:
    """A broker with access rules allows it to publish under this name and no other."""
    assert node_name(role, None, f"{role}.pi-7") == f"{role}.pi-7"
    assert node_name(role, "pi-7", f"{role}.pi-7") == f"{role}.pi-7"
    assert node_name(role, None, f"{role}.eu.west-1") == f"{role}.eu.west-1"


@pytest.mark.parametrize("login", [None, "", "fleet", "ann", "agents.pi-7", "agent"])
def test_a_login_that_names_no_node_leaves_the_name_to_the_setting(login: str | None) -> None:
    """One account may be shared by a whole fleet, on a broker without access rules."""
    assert node_name("agent", None, login) == "agent.1"
    assert node_name("agent", "pi-7", login) == "agent.pi-7"
    assert not names_a_node(login)


@pytest.mark.parametrize(
    ("given", "login", "words"),
    [
        ("pi-8", "agent.pi-7", ["FEDBUS_NAME=pi-8", "agent.pi-8", "agent.pi-7", "Leave FEDBUS_"]),
        ("1", "agent.pi-7", ["FEDBUS_NAME=1", "agent.1", "logs in as agent.pi-7"]),
        ("agent.pi-8", "agent.pi-8", ["FEDBUS_NAME is the name without its role: pi-8"]),
        ("agent.pi-8", "agent.pi-7", ["FEDBUS_NAME is the name without its role: pi-8"]),
        (None, "user.me", ["logs in as user.me", "'agent'", "Log in as agent.NAME"]),
        ("pi-7", "controller.1", ["logs in as controller.1", "Log in as agent.pi-7"]),
        (None, "agent.", ["'agent.'", "1 to 64 letters", "another name"]),
        (None, "agent.a/b", ["'agent.a/b'", "1 to 64 letters"]),
        (None, "agent.pi-7\n", ["1 to 64 letters"]),
    ],
)
def test_a_name_that_contradicts_the_login_is_refused(
    given: str | None, login: str, words: list[str]
) -> None:
    """The sentence has both, and how to mend it: the broker itself would say nothing at all."""
    with pytest.raises(SettingsError) as refused:
        node_name("agent", given, login)
    assert [word for word in words if word not in str(refused.value)] == []


def test_settings_name_the_node_by_the_address() -> None:
    """Percent-encoded as the address is, and with the password in a file as well."""
    address = {"FEDBUS_BROKER": "mqtts://agent.pi%2D7@broker:8883", "FEDBUS_PASSWORD_FILE": "p"}
    assert settings_from(address, ServiceSettings).node("agent") == "agent.pi-7"
    assert settings_from({}, ServiceSettings).node("controller") == "controller.1"
    with pytest.raises(SettingsError, match=r"FEDBUS_NAME=x would make this node agent\.x"):
        settings_from({**address, "FEDBUS_NAME": "x"}, ServiceSettings).node("agent")
