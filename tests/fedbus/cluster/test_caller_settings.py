"""Settings in the environment of `fedbus up`: each reaches the members, or is warned of."""

from pathlib import Path

from fedbus.cluster.caller_settings import (
    NOT_PASSED_ON,
    OF_THE_COMMAND,
    PASSED_ON,
    ignored,
    inherited,
)
from fedbus.cluster.members import ClusterPlan, members
from fedbus_collector.app import CollectorSettings
from fedbus_controller.app import ControllerSettings
from fedbus_edge_agent.settings import AgentSettings
from fedbus_inference.settings import InferenceSettings
from fedbus_repository.app import RepositorySettings

HOME = Path("/home/of/it")
SERVICES = (
    AgentSettings,
    CollectorSettings,
    ControllerSettings,
    InferenceSettings,
    RepositorySettings,
)


def test_each_setting_of_a_service_is_in_one_list() -> None:
    """A new one must be passed on, or have a reason not to be."""
    lists = [*PASSED_ON, *OF_THE_COMMAND, *NOT_PASSED_ON]
    fields = {name.upper() for service in SERVICES for name in service.model_fields}
    assert sorted(lists) == sorted(fields)


def test_no_setting_that_members_inherit_is_one_that_the_cluster_sets() -> None:
    """A value of the caller would be lost without a warning."""
    made = members(ClusterPlan(home=HOME, open=True), ["1"], HOME)
    assert not {name.upper() for member in made for name in member.settings} & PASSED_ON


def test_canary_shadow_and_limits_reach_the_members() -> None:
    """And no address, file or login of another deployment does."""
    caller = {
        "FEDBUS_BROKER": "mqtt://elsewhere",
        "FEDBUS_KEEP_VERSIONS": "3",
        "FEDBUS_SHADOW": "true",
        "FEDBUS_STORE": "mongodb://elsewhere/db",
        "HOME": "/home/me",
    }
    assert inherited(caller) == {
        "FEDBUS_KEEP_VERSIONS": "3",
        "FEDBUS_SHADOW": "true",
        "HOME": "/home/me",
    }


def test_the_caller_is_warned_of_settings_without_an_effect() -> None:
    """With the option that has one; not of its own login, and not of an empty value."""
    caller = {
        "FEDBUS_BROKER": "mqtt://elsewhere",
        "FEDBUS_GRPC": "",
        "FEDBUS_HOME": "/other",
        "FEDBUS_HTTP_TOKENS_FILE": "/of/them",
        "FEDBUS_SHADOW": "true",
        "FEDBUS_STORE": "mongodb://elsewhere/db",
    }
    without_effect = [
        "FEDBUS_HOME has no effect on a local cluster; use --home",
        "FEDBUS_STORE has no effect on a local cluster",
    ]
    assert list(ignored(caller, http=True)) == without_effect
    without_http = "FEDBUS_HTTP_TOKENS_FILE has no effect on a local cluster without --http"
    assert list(ignored(caller, http=False)) == [without_http, *without_effect]
