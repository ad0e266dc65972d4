"""Keys of aerOS, ASSIST-IoT, Flower and AI4OS: each is read as what it means here, or refused."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbus.jobs import JobFileError, canonical, parse
from fedbus.jobs.foreign_keys import REFUSED_KEYS, SERVER_KEYS, STRATEGY_KEYS
from fedbus.wire.json_reader import path_of, walk
from tests.fedbus.jobs.written import job_with, sentences

VALUES: dict[str, object] = {
    "fraction_fit": 0.5,
    "min_fit_clients": 3,
    "min_available_clients": 8,
    "min_completion_rate_fit": 0.5,
    "accept_failures": False,
    "num_rounds": 7,
    "round_timeout": 60,
    "CODE_CARBON": True,
}


def value_at(tree: object, key: str) -> object:
    """Return the value of a key, None if it is not there."""
    for name in key.split("."):
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


@pytest.mark.parametrize("word", STRATEGY_KEYS)
def test_each_key_of_strategy_conf_becomes_what_the_table_says(word: str) -> None:
    """The page of the job file has the same table."""
    key = STRATEGY_KEYS[word]
    conf = {word: VALUES.get(word, 0.125)}
    if word == "fraction_fit":
        conf["min_available_clients"] = 8
    if not key.to:
        (said,) = sentences(job_with(strategy_conf=conf))
        assert said.startswith(f"strategy_conf.{word}: expected ")
        assert said.endswith("; leave it out")
        return
    without = json.loads(canonical(parse(job_with())))
    found = json.loads(canonical(parse(job_with(strategy_conf=conf))))
    assert value_at(found, key.to) is not None
    if word != "accept_failures":  # the quorum of 2 agents is 2 without it
        assert value_at(found, key.to) != value_at(without, key.to)
    assert "strategy_conf" not in found


@pytest.mark.parametrize("word", SERVER_KEYS)
def test_each_key_of_server_conf_becomes_what_the_table_says(word: str) -> None:
    """It may replace the key here."""
    tree = json.loads(job_with())
    del tree["num_rounds"]
    conf = {"num_rounds": 5} | {word: VALUES[word]}
    found = json.loads(canonical(parse(json.dumps(tree | {"server_conf": conf}).encode())))
    assert value_at(found, SERVER_KEYS[word].to) == VALUES[word]


@pytest.mark.parametrize("name", REFUSED_KEYS)
def test_keys_without_a_meaning_are_refused_with_the_one_that_has_it(name: str) -> None:
    """None is ignored."""
    (said,) = sentences(job_with(**{name: [{}]}))
    assert said == f"{name}: not a key here; {REFUSED_KEYS[name]}"


@pytest.mark.parametrize(
    ("conf", "agents", "quorum"),
    [
        ({}, 2, 2),
        ({"min_fit_clients": "5"}, 5, 4),
        ({"min_available_clients": 8}, 8, 6),
        ({"min_available_clients": 1}, 2, 2),
        ({"min_fit_clients": 3, "min_available_clients": 10, "fraction_fit": "0.5"}, 5, 4),
        ({"min_fit_clients": 7, "min_available_clients": 10, "fraction_fit": 0.5}, 7, 6),
        ({"min_fit_clients": 7, "fraction_fit": 0.0}, 7, 6),
        ({"min_available_clients": 9, "fraction_fit": 0.99}, 8, 6),
        ({"min_fit_clients": 5, "min_completion_rate_fit": 0.5}, 5, 3),
        ({"min_fit_clients": 5, "min_completion_rate_fit": 0}, 5, 1),
        ({"min_fit_clients": 5, "accept_failures": "False"}, 5, 5),
        ({"min_fit_clients": 5, "accept_failures": True}, 5, 4),
        ({"min_completion_rate_fit": 1, "accept_failures": False}, 2, 2),
        ({"fraction_evaluate": 1.0, "min_evaluate_clients": 0}, 2, 2),
        ({"min_fit_clients": None}, 2, 2),
    ],
)
@pytest.mark.parametrize("where", ["strategy_conf", "parameters"])
def test_cohort_and_quorum_follow_from_the_words_of_flower(
    where: str, conf: dict[str, object], agents: int, quorum: int
) -> None:
    """Flower's strategies take them as parameters, aerOS's files have them in strategy_conf."""
    keys = {"strategy": {"parameters": conf}} if where == "parameters" else {where: conf}
    job = parse(job_with(**keys))
    assert (job.round.agents, job.round.quorum) == (agents, quorum)
    assert job.strategy.parameters == {}


def test_parameters_reach_the_strategy() -> None:
    """AerOS has the strategy as plain text beside them."""
    job = parse(job_with(strategy="FedAdam", strategy_conf={"eta": "0.1", "beta_1": 0.9}))
    assert job.strategy.id == "FedAdam"
    assert job.strategy.parameters == {"eta": "0.1", "beta_1": 0.9}
    other = parse(
        job_with(
            strategy={"id": "FedAdam", "parameters": {"eta": 0.1}}, strategy_conf={"eta": "0.1"}
        )
    )
    assert other.strategy.parameters == {"eta": 0.1}


def test_a_word_may_stand_beside_the_equal_key_here() -> None:
    """Neither contradicts the other."""
    keys = {"round": {"agents": "5"}, "strategy_conf": {"min_fit_clients": 5}}
    assert parse(job_with(**keys, server_conf={"num_rounds": "30"})).round.agents == 5
    rate = {"optimizer_config": {"lr": 0.1}, "strategy_conf": {"eta_l": "0.1"}}
    assert parse(job_with(**rate)).optimizer_config.lr == 0.1


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"strategy_conf": 5}, "strategy_conf: expected an object, got 5"),
    ({"server_conf": "x"}, "server_conf: expected an object, got 'x'"),
    (
        {"server_conf": {"timeout": 5}},
        "server_conf.timeout: unknown key; its keys are num_rounds, round_timeout",
    ),
    (
        {"server_conf": {"num_rounds": 5}},
        "server_conf.num_rounds: 5, but num_rounds says 30; give one of them",
    ),
    (
        {"server_conf": {"round_timeout": "soon"}},
        "server_conf.round_timeout: expected a number, got 'soon'",
    ),
    (
        {"strategy_conf": {"fraction_fit": 0.5}},
        "strategy_conf.fraction_fit: a share of an unknown number: the size of a cohort i",
    ),
    (
        {"strategy_conf": {"fraction_fit": 2, "min_available_clients": 3}},
        "strategy_conf.fraction_fit: expected 0 to 1, got 2",
    ),
    (
        {"strategy_conf": {"fraction_fit": [], "min_available_clients": 3}},
        "strategy_conf.fraction_fit: expected a number, got a list",
    ),
    (
        {"strategy_conf": {"min_fit_clients": 2.5}},
        "strategy_conf.min_fit_clients: expected a whole number, got 2.5",
    ),
    (
        {"strategy_conf": {"min_fit_clients": 20_000}},
        "strategy_conf.min_fit_clients: expected 0 to 10000, got 20000",
    ),
    (
        {"strategy_conf": {"min_fit_clients": 0}},
        "strategy_conf.min_fit_clients: expected at least 1, got 0",
    ),
    (
        {"strategy_conf": {"min_fit_clients": 4}, "round": {"agents": 5}},
        "strategy_conf.min_fit_clients: 4, but round.agents says 5; give one of them",
    ),
    (
        {"strategy_conf": {"min_completion_rate_fit": 0.5}, "round": {"agents": 4, "quorum": 3}},
        "strategy_conf.min_completion_rate_fit: 2, but round.quorum says 3; give one of them",
    ),
    (
        {"strategy_conf": {"min_completion_rate_fit": 0.5, "accept_failures": False}},
        "strategy_conf.accept_failures: 2, but strategy_conf.min_completion_rate_fit says",
    ),
    (
        {"strategy_conf": {"accept_failures": "maybe"}},
        "strategy_conf.accept_failures: expected true or false, got 'maybe'",
    ),
    (
        {"strategy_conf": {"eta_l": 0.1}, "optimizer_config": {"lr": 0.2}},
        "strategy_conf.eta_l: 0.1, but optimizer_config.lr says 0.2; give one of them",
    ),
    (
        {"strategy_conf": {"eta_l": 0.1}, "optimizer_config": {"learning_rate": 0.2}},
        "optimizer_config.learning_rate: 0.2, but optimizer_config.lr says 0.1; give the",
    ),
    (
        {"strategy_conf": {"fraction_evaluate": 0.5}},
        "strategy_conf.fraction_evaluate: expected 1, got 0.5: every evaluator that is on",
    ),
    (
        {"strategy_conf": {"tau": [None]}},
        "strategy_conf.tau: a list, neither a number, a flag, text of at most 256 charact",
    ),
    (
        {
            "strategy_conf": {"min_fit_clients": 4},
            "strategy": {"parameters": {"min_fit_clients": 5}},
        },
        "strategy_conf.min_fit_clients: 4, but strategy.parameters.min_fit_clients says 5",
    ),
    (
        {"strategy_conf": {"eta": 0.1}, "strategy": {"parameters": {"eta": 0.2}}},
        "strategy_conf.eta: 0.1, but strategy.parameters.eta says 0.2; give one of them",
    ),
]


@pytest.mark.parametrize(("keys", "said"), REFUSALS)
def test_what_cannot_be_read_is_refused_under_its_own_key(keys: dict[str, Any], said: str) -> None:
    """A user finds the key in the file."""
    (found,) = sentences(job_with(**keys))
    assert found.startswith(said)


@pytest.mark.parametrize(
    "keys",
    [
        {"strategy": [], "strategy_conf": {"eta": 0.1}},
        {"strategy": {"parameters": 5}, "strategy_conf": {"eta": 0.1}},
        {"round": 5, "strategy_conf": {"min_fit_clients": 3, "accept_failures": False}},
        {"round": {"agents": "x"}, "strategy_conf": {"min_completion_rate_fit": 0.5}},
    ],
)
def test_a_part_that_is_none_has_its_own_fault(keys: dict[str, Any]) -> None:
    """The words that belong there add none."""
    (said,) = sentences(job_with(**keys))
    assert not said.startswith("strategy_conf")


def test_a_value_that_is_not_json_is_a_fault_of_its_key() -> None:
    """And of no other."""
    text = (
        b'{"training_id": "a", "model_name": "m", "num_rounds": 1, "strategy_conf": {"eta": NaN}}'
    )
    assert sentences(text) == ["strategy_conf.eta: NaN, not a finite number"]
    twice = text.replace(b'{"eta": NaN}', b'{}, "server_conf": 1, "server_conf": {}')
    assert sentences(twice) == ["server_conf: given more than once"]


words = st.dictionaries(
    st.sampled_from([*STRATEGY_KEYS, *SERVER_KEYS, "momentum"]),
    st.one_of(
        st.none(), st.booleans(), st.floats(0, 1), st.integers(-1, 20), st.sampled_from(["3", "x"])
    ),
    max_size=5,
)


@settings(deadline=None)
@given(words, words, words)
def test_whatever_the_words_say_the_faults_are_of_keys_in_the_file(
    strategy_conf: dict[str, Any], server_conf: dict[str, Any], parameters: dict[str, Any]
) -> None:
    """An accepted file is written again without foreign keys, and is the same job."""
    file = job_with(
        strategy_conf=strategy_conf, server_conf=server_conf, strategy={"parameters": parameters}
    )
    try:
        job = parse(file)
    except JobFileError as error:
        faults = error.faults
    else:
        faults = ()
        assert parse(canonical(job)) == job
    assert {fault.key for fault in faults} <= {
        path_of(place) for place, _ in walk(json.loads(file))
    }
