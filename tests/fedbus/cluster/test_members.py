"""Nodes of a local cluster, and the environment of each."""

from pathlib import Path

from fedbus.cluster.members import (
    UP_USER,
    USER,
    ClusterPlan,
    accounts,
    broker_of,
    members,
    rules,
)
from fedbus.mqtt.bus import BrokerAddress
from fedbus.wire.topics import ROOT

HOME = Path("/home/of/it")
AT = BrokerAddress("127.0.0.1", 1883)


def test_a_cluster_has_four_services_the_agents_and_one_that_evaluates() -> None:
    """Each node that a cluster needs, once."""
    nodes = [m.node for m in members(ClusterPlan(home=HOME), ["1", "2"], HOME / "data")]
    services = ["repository.1", "controller.1", "collector.1", "inference.1"]
    assert nodes == [*services, "agent.1", "agent.2", "agent.evaluator"]


def test_only_the_collector_is_told_where_the_noise_key_is() -> None:
    """In the home, which only its owner can enter."""
    told = {m.node: m.settings for m in members(ClusterPlan(home=HOME), ["1"], HOME / "data")}
    assert [node for node, settings in told.items() if "noise_key" in settings] == ["collector.1"]
    assert told["collector.1"]["noise_key"] == "/home/of/it/noise.key"


def test_agents_have_the_secret_encryption_key_and_services_the_public_one(tmp_path: Path) -> None:
    """If the home has keys; the inference service needs none."""
    plan = ClusterPlan(home=tmp_path)
    assert not any("encryption_key" in m.settings for m in members(plan, ["1"], tmp_path))
    keys = tmp_path / "keys"
    keys.mkdir()
    for name in ("secret.key", "public.key"):
        (keys / name).touch()
    told = {m.node: m.settings.get("encryption_key") for m in members(plan, ["1"], tmp_path)}
    secret, public = str(keys / "secret.key"), str(keys / "public.key")
    assert told == {
        "repository.1": public,
        "controller.1": public,
        "collector.1": public,
        "inference.1": None,
        "agent.1": secret,
        "agent.evaluator": secret,
    }


def test_only_the_evaluator_sees_what_is_held_out() -> None:
    """A model that was trained on its exam proves nothing."""
    told = {m.node: m.settings for m in members(ClusterPlan(home=HOME), ["1"], HOME / "data")}
    assert told["agent.1"]["data"] == "/home/of/it/data/agent.1.npz"
    assert told["agent.evaluator"]["data"] == "/home/of/it/data/held_out.npz"
    assert told["agent.evaluator"]["roles"] == "evaluate"


def test_a_member_hears_nothing_of_what_its_caller_was_told() -> None:
    """The user's FEDBUS_BROKER must not send a local cluster to another broker."""
    (repository, *_) = members(ClusterPlan(home=HOME), [], HOME)
    caller = {
        "PATH": "/bin",
        "FEDBUS_ROOT": "elsewhere",
        "FEDBUS_DATA": "/other",
        "FEDBUS_LOG_LEVEL": "debug",
        "FEDBUS_CANARY_PERCENT": "5",
    }
    environment = repository.environment(caller, AT.url, first=True)
    assert environment == {
        "PATH": "/bin",
        "OMP_NUM_THREADS": "1",
        "FEDBUS_LOG_LEVEL": "debug",
        "FEDBUS_CANARY_PERCENT": "5",
        "FEDBUS_NAME": "1",
        "FEDBUS_DATA": "/home/of/it/repository",
        "FEDBUS_BROKER": "mqtt://127.0.0.1:1883",
    }


def test_a_member_has_an_http_api_only_with_a_tokens_file() -> None:
    """Without one it serves its health and metrics."""
    (repository, *_) = members(ClusterPlan(home=HOME), [], HOME)
    alone = repository.with_http("127.0.0.1:9", None).settings
    assert (alone["http"], "http_tokens_file" in alone) == ("127.0.0.1:9", False)
    api = repository.with_http("127.0.0.1:9", Path("/tokens")).environment({}, AT.url, first=True)
    assert (api["FEDBUS_HTTP"], api["FEDBUS_HTTP_TOKENS_FILE"]) == ("127.0.0.1:9", "/tokens")


def test_a_planted_fault_strikes_the_first_life_only() -> None:
    """The second life is there to show that it goes on."""
    plan = ClusterPlan(home=HOME, faults={"collector.1": "send:Commit:1"})
    collector = next(m for m in members(plan, [], HOME) if m.node == "collector.1")
    assert collector.environment({}, AT.url, first=True)["FEDBUS_FAULT_AT"] == "send:Commit:1"
    assert "FEDBUS_FAULT_AT" not in collector.environment({}, AT.url, first=False)


def test_each_member_has_its_own_password() -> None:
    """Who learns one of them learns one of them."""
    made = accounts(ClusterPlan(home=HOME), ["agent.1", "agent.2"])
    assert set(made) == {"agent.1", "agent.2", USER, UP_USER}
    assert len(set(made.values())) == 4


def test_an_open_cluster_has_no_passwords() -> None:
    """`--open` means that."""
    plan = ClusterPlan(home=HOME, open=True)
    assert accounts(plan, ["agent.1"]) == {}
    (repository, *_) = members(plan, [], HOME)
    assert repository.settings["open"] == "true"
    assert broker_of(repository, {}, AT) == "mqtt://127.0.0.1:1883"


def test_a_member_logs_in_as_itself() -> None:
    """The broker's access rules know it by that name."""
    (repository, *_) = members(ClusterPlan(home=HOME), [], HOME)
    passwords = {"repository.1": "secret"}
    assert broker_of(repository, passwords, AT) == "mqtt://repository.1:secret@127.0.0.1:1883"


def test_only_the_starter_may_clear_what_others_said_of_themselves() -> None:
    """A person who could would make agents vanish."""
    sweep = ("write", f"{ROOT}/nodes/+/state")
    assert sweep in set(rules(UP_USER))
    assert sweep not in set(rules(USER))
