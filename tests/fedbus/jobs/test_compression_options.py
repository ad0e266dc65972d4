"""Steps of `transmitter` and `download`: as fedbus, Sedna and Plato write them, or refused."""

from typing import Any

import pytest

from fedbus.jobs import parse
from fedbus.jobs.compression_options import (
    COMPRESSING,
    OTHER_STEPS,
    SELF_CONTAINED,
    STEP_IDS,
    STEP_OPTIONS,
    StepConfig,
)
from fedbus.jobs.parser import canonical
from tests.fedbus.jobs.written import job_with, sentences

NO_PARAMETERS: dict[str, Any] = {}


def step(name: str, **parameters: object) -> StepConfig:
    """Return a step with its parameters."""
    return StepConfig.model_validate({"id": name, "parameters": parameters})


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("simple", [("simple", {})]),
        (["zstandard"], [("zstandard", {"level": 3})]),
        ({"id": "CAST"}, [("cast", {})]),
        (
            [{"id": "Top_K", "parameters": {"fraction": "0.1"}}, "quantize"],
            [("top-k", {"fraction": 0.1}), ("quantize", {"bits": 8, "block": 256})],
        ),
        (
            [{"id": "quantize", "parameters": {"bits": "4"}}],
            [("quantize", {"bits": 4, "block": 256})],
        ),
        (
            {"name": "adaptive_sync", "parameters": [{"key": "sync_frequency", "value": "4"}]},
            [("adaptive-sync", {"sync_frequency": 4, "window": 5, "warm_up": 50})],
        ),
        (
            [{"name": "adaptive_freezing", "parameters": None}],
            [
                (
                    "adaptive-freezing",
                    {
                        "stability_threshold": 0.05,
                        "moving_average": 0.99,
                        "tight_threshold": 0.8,
                        "random_freezing": False,
                    },
                )
            ],
        ),
    ],
)
def test_steps_are_read_as_each_system_writes_them(
    written: object, expected: list[tuple[str, dict[str, Any]]]
) -> None:
    """With all defaults, so that another version of fedbus does the same."""
    found = parse(job_with(transmitter=written))
    assert [(each.id, each.parameters) for each in found.transmitter] == expected
    assert parse(canonical(found)) == found


FAULTS: list[tuple[object, str]] = [
    (
        ["zstandard", {"id": "quantize", "parameters": {"bits": 5}}],
        "transmitter[1].parameters.bits: expected 4 or 8, got 5",
    ),
    (
        [{"id": "quantize", "parameters": {"bits": True}}],
        "transmitter[0].parameters.bits: expected a number, got true",
    ),
    (
        [{"id": "cast", "parameters": {"bits": 8}}],
        "transmitter[0].parameters.bits: unknown parameter; cast takes none",
    ),
    (
        [{"id": "adaptive-sync", "parameters": {"frequency": 8}}],
        (
            "transmitter[0].parameters.frequency: unknown parameter; adaptive-sync takes "
            "sync_frequency, window, warm_up"
        ),
    ),
    (
        [{"id": "top-k", "parameters": {"fraction": 0}}],
        "transmitter[0].parameters.fraction: expected more than 0, got 0",
    ),
    (
        [{"id": "top-k", "parameters": [{"key": "fraction"}]}],
        "transmitter[0].parameters: expected an object, got a list",
    ),
    (
        [{"id": "gzip", "parameters": {"level": 3}}],
        (
            "transmitter[0].id: expected 'cast', 'quantize', 'top-k', 'random-k', 'zstandard', "
            "'simple', 'adaptive-freezing' or 'adaptive-sync', got 'gzip'"
        ),
    ),
    (["zstd"], "transmitter[0].id: not a step; did you mean 'zstandard'?"),
    (["topk"], "transmitter[0].id: not a step; did you mean 'top-k'?"),
    ([{"id": 3}], ("transmitter[0].id: expected 'cast', 'quantize', 'top-k', 'random-k', "
     "'zstandard', 'simple', 'adaptive-freezing' or 'adaptive-sync', got 3")),
    (3, "transmitter: expected a list, got 3"),
    ([3], "transmitter[0]: expected an object, got 3"),
    (["zstandard"] * 9, "transmitter: more than 8 entries"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "expected"), FAULTS)
def test_a_step_that_cannot_be_used_is_refused_with_its_place(
    written: object, expected: str
) -> None:
    """Before anything is sent."""
    assert sentences(job_with(transmitter=written)) == [expected]


@pytest.mark.parametrize(
    ("name", "hint"), [("secagg", "; did you mean 'secure-aggregation'?"), ("secaggplus", "")]
)
def test_a_shortened_mechanism_gets_the_name_that_is_meant(name: str, hint: str) -> None:
    """A beginning of each word, as `secagg` has it."""
    said = f"privacy-mechanisms.{name}: unknown key{hint}"
    assert sentences(job_with(privacy_mechanisms={name: {}})) == [said]


@pytest.mark.parametrize("name", OTHER_STEPS)
def test_steps_of_sedna_and_plato_are_refused_with_what_to_choose(name: str) -> None:
    """However they are spelled."""
    for written in (name, name.replace("-", "_")):
        (said,) = sentences(job_with(download=[written]))
        assert said == f"download[0].id: not a step here; {OTHER_STEPS[name]}"


def test_each_step_has_its_parameters() -> None:
    """And each class of steps has ids that are there."""
    assert set(STEP_OPTIONS) == set(STEP_IDS)
    assert SELF_CONTAINED < COMPRESSING < set(STEP_IDS)
    assert step("random-k", fraction=1).parameters == {"fraction": 1.0}


@pytest.mark.parametrize("flag", ["True", "true", True, 1])
def test_the_flag_of_ai4os_asks_for_energy(flag: object) -> None:
    """As the key here does."""
    assert parse(job_with(server_conf={"CODE_CARBON": flag})).energy
    assert parse(job_with(energy=flag)).energy
    assert not parse(job_with()).energy
