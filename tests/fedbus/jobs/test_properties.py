"""Whatever is sent: a job that is accepted survives its writing, all else is a job file error."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from fedbus.jobs import JobFileError, canonical, parse, training_params_of
from fedbus.jobs.foreign_keys import REFUSED_KEYS, SERVER_KEYS, STRATEGY_KEYS
from fedbus.jobs.schema import PARTS
from fedbus.training.params import TrainingParams
from tests.fedbus.jobs.written import sentences

# A busy machine is no fault of the job file.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
rates = st.floats(min_value=1e-9, max_value=1000)
labels = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def as_text_or_not(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Write a number as itself or as text."""
    return st.one_of(values, values.map(str))


@st.composite
def jobs(draw: Callable[[st.SearchStrategy[Any]], Any]) -> dict[str, Any]:
    """Draw a job file that should be accepted."""
    agents = draw(st.integers(1, 10_000))
    rate = draw(rates)
    optional: dict[str, st.SearchStrategy[Any]] = {
        "model_version": labels,
        "server_address": labels,
        "eval_metrics": st.lists(st.sampled_from(["accuracy", "loss", "Loss"]), max_size=4),
        "num_classes": as_text_or_not(st.integers(1, 1000)),
        "shape": st.lists(as_text_or_not(st.integers(1, 512)), max_size=4),
        "config": st.lists(
            st.fixed_dictionaries(
                {"learning_rate": as_text_or_not(st.just(rate))},
                optional={
                    "batch_size": as_text_or_not(st.integers(1, 4096)),
                    "steps_per_epoch": st.none() | as_text_or_not(st.integers(1, 1000)),
                    "epochs": as_text_or_not(st.integers(1, 100)),
                },
            ),
            max_size=1,
        ),
        "optimizer_config": st.fixed_dictionaries(
            {"optimizer": st.sampled_from(["sgd", "SGD "])},
            optional={"lr": st.just(rate), "nesterov": st.sampled_from(["False", False, None])},
        ),
        "stopping_target": st.dictionaries(
            st.sampled_from(["accuracy", "loss"]), as_text_or_not(st.floats(0, 1))
        ),
        "stopping_flag": st.sampled_from([False, "false", None]),
        "round": st.fixed_dictionaries(
            {"agents": as_text_or_not(st.just(agents))},
            optional={
                "quorum": as_text_or_not(st.integers(1, agents)),
                "deadline_seconds": st.floats(1, 86_400),
            },
        ),
        "plugins": st.fixed_dictionaries({}, optional={"selector": names, "trainer": names}),
    }
    required = {
        "training_id": names | st.integers(0, 10**9),
        "model_name": names,
        "num_rounds": as_text_or_not(st.integers(1, 100_000)),
    }
    return cast("dict[str, Any]", draw(st.fixed_dictionaries(required, optional=optional)))


@unhurried
@given(jobs())
def test_a_job_written_again_is_the_same_job(tree: dict[str, Any]) -> None:
    """And writing it a third time gives the same bytes."""
    job = parse(json.dumps(tree).encode())
    again = parse(canonical(job))
    assert again == job
    assert canonical(again) == canonical(job)


@unhurried
@given(jobs())
def test_training_params_survive_the_wire(tree: dict[str, Any]) -> None:
    """They are plain types that any codec carries."""
    wanted = training_params_of(parse(json.dumps(tree).encode()))
    plain = json.loads(json.dumps(dataclasses.asdict(wanted)))
    assert TypeAdapter(TrainingParams).validate_python(plain) == wanted


keys_and_noise = st.sampled_from(
    [
        *(key for part in PARTS.values() for key in part.names()),
        *("server_conf", "strategy_conf", *REFUSED_KEYS, *SERVER_KEYS, *STRATEGY_KEYS),
    ]
) | st.text(max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inside: (
        st.lists(inside, max_size=4) | st.dictionaries(keys_and_noise, inside, max_size=4)
    ),
    max_leaves=12,
)


@unhurried
@given(st.dictionaries(keys_and_noise, anything, max_size=6))
def test_whatever_the_tree_only_a_job_file_error_comes_of_it(tree: dict[str, Any]) -> None:
    """Invalid files are refused where they are received, and the reply can be sent."""
    assert "\n".join(sentences(json.dumps(tree).encode())).encode()


@unhurried
@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
)
def test_whatever_the_bytes_only_a_job_file_error_comes_of_them(data: bytes) -> None:
    """No bytes raise anything else."""
    with pytest.raises(JobFileError):
        parse(data)
