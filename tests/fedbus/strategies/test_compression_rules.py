"""Steps for smaller blobs that cannot work with each other or with a job, and those that can."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.compression import chain_of
from fedbus.jobs import JobFile, JobFileError, parse
from fedbus.jobs.compression_options import OTHER_STEPS, STEP_IDS
from fedbus.jobs.parser import canonical
from fedbus.strategies.combinations import strategy_faults
from fedbus.strategies.resolution import resolve_job
from fedbus.training.params import PluginChoice
from fedbus.wire import codec
from fedbus.wire.compression import FREEZING_STATE, SYNC_STATE, Freezing, SyncFrequency
from fedbus.wire.strategies import Strategy
from tests.plugin_package import Install

FIXED: dict[str, Any] = {"noise_multiplier": 1, "clipping_norm": 1, "num_sampled_clients": 5}
FEATURES: dict[str, Any] = {"features": 4, "trainers": ["agent.a"]}
GREEDY = """
class Greedy:
    state = ("a", "b", "c")
    def apply(self, base, combined, state): return base
"""


def job(**keys: object) -> JobFile:
    """Return a job with these keys."""
    return JobFile.model_validate({"model_name": "m", "num_rounds": 1, **keys})


def faults(**keys: object) -> list[str]:
    """Return the faults of a job's strategy."""
    return [str(fault) for fault in strategy_faults(job(**keys), ("all",))]


def test_the_steps_of_a_job_are_those_of_its_strategy() -> None:
    """With all parameters, as the library reads them."""
    found = resolve_job(
        job(
            transmitter=["random-k", {"id": "quantize", "parameters": {"bits": 4}}, "zstandard"],
            download=["cast"],
            energy=True,
        )
    )
    assert found.compression == (
        PluginChoice(id="random-k", parameters={"fraction": 0.1}),
        PluginChoice(id="quantize", parameters={"bits": 4, "block": 256}),
        PluginChoice(id="zstandard", parameters={"level": 3}),
    )
    assert chain_of(found.compression).steps == found.compression
    assert chain_of(found.download).steps == found.download == (PluginChoice(id="cast"),)
    assert found.measures_energy
    assert not resolve_job(job(transmitter="simple")).compression


def test_freezing_and_synchronization_keep_arrays_with_the_strategy() -> None:
    """After those of the server optimizer."""
    both = resolve_job(
        job(
            strategy="fedadam",
            transmitter=[
                {"id": "adaptive_freezing", "parameters": {"random_freezing": True}},
                {"id": "adaptive_sync", "parameters": {"sync_frequency": 4}},
            ],
        )
    )
    assert both.freezing == Freezing(random_freezing=True)
    assert both.sync == SyncFrequency(epochs=4)
    assert both.compression == ()
    assert both.state == ("first_moment", "second_moment", *FREEZING_STATE, *SYNC_STATE)


ROWS: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"transmitter": ["zstandard", "top-k"]},
        [
            (
                "transmitter[1].id: 'top-k' chooses the numbers that are sent, after 'zstandard', "
                "which packs bytes; first top-k or random-k, then cast or quantize, then "
                "zstandard, each of which may be left out"
            )
        ],
    ),
    (
        {"download": ["quantize", "cast"]},
        [
            (
                "download[1].id: 'cast' after 'quantize', and each of them writes numbers in fewer "
                "bits; give one of them"
            )
        ],
    ),
    (
        {"transmitter": ["simple", "cast"]},
        [
            (
                "transmitter[0].id: 'simple' beside other steps, and it means that there is none; "
                "leave it out"
            )
        ],
    ),
    (
        {"transmitter": ["adaptive-sync", "cast", "adaptive-sync"]},
        ["transmitter[2].id: 'adaptive-sync' is there already; give it once"],
    ),
    (
        {"download": ["random-k"]},
        [
            (
                "download[0].id: 'random-k' leaves numbers out, and an agent that has not the "
                "version before would lack them; choose cast, quantize or zstandard"
            )
        ],
    ),
    (
        {"download": ["adaptive-freezing"]},
        [("download[0].id: 'adaptive-freezing' is about what agents send; give it in transmitter")],
    ),
    (
        {"transmitter": "zstandard", "strategy": {"id": "scaffold", "population": 9}},
        [
            (
                "transmitter: 'zstandard' is for the differences of an update, and scaffold adds "
                "'control' to it, which must arrive exactly; leave it out, or choose a strategy "
                "without such arrays, such as fedprox or fedadam"
            )
        ],
    ),
    (
        {
            "transmitter": ["adaptive-freezing", "adaptive-sync", "quantize"],
            "privacy-mechanisms": {"dp-fixed": FIXED},
        },
        [
            (
                "transmitter[0].id: 'adaptive-freezing', but with privacy-mechanisms.dp-fixed "
                "noise is added to parameters that are not sent; leave it out: top-k and quantize "
                "work with every mechanism"
            ),
            (
                "transmitter[1].id: 'adaptive-sync', but with privacy-mechanisms.dp-fixed ε and "
                "the noise are for the local epochs of the job file; leave it out: top-k and "
                "quantize work with every mechanism"
            ),
        ],
    ),
    (
        {
            "transmitter": "quantize",
            "download": ["cast"],
            "privacy-mechanisms": {"mistnet": FEATURES},
        },
        [
            (
                "transmitter: given, but with mistnet agents send features once, and one trains; "
                "leave it out"
            ),
            (
                "download: given, but with mistnet agents send features once, and one trains; "
                "leave it out"
            ),
        ],
    ),
    (
        {
            "transmitter": ["adaptive-freezing", "adaptive-sync"],
            "strategy": {"server_optimizer": "greedy"},
        },
        [
            (
                "transmitter: fedavg with these steps keeps 9 arrays from round to round, at most "
                "8; leave adaptive-freezing or adaptive-sync out, or choose another server "
                "optimizer"
            )
        ],
    ),
]


@pytest.mark.parametrize(("keys", "expected"), ROWS)
def test_steps_that_cannot_work_are_refused(
    install: Install, keys: dict[str, Any], expected: list[str]
) -> None:
    """With what would."""
    install("acme_greedy", "[fedbus.server_optimizers]\ngreedy = acme_greedy:Greedy\n", GREEDY)
    assert faults(**keys) == expected


@pytest.mark.parametrize(
    "keys",
    [
        {"transmitter": ["top-k", "quantize", "zstandard"], "strategy": "fedmedian"},
        {"transmitter": ["cast"], "privacy-mechanisms": {"dp-fixed": FIXED}},
        {"transmitter": ["adaptive-sync", "random-k", "adaptive-freezing", "zstandard"]},
        {"download": ["quantize"], "strategy": {"id": "scaffold", "population": 9}},
        {"transmitter": ["simple"], "strategy": {"id": "scaffold", "population": 9}},
        {"transmitter": "simple", "privacy-mechanisms": {"mistnet": FEATURES}},
    ],
)
def test_steps_work_with_rules_that_read_updates_and_with_mechanisms(keys: dict[str, Any]) -> None:
    """They are decoded before anything else."""
    assert faults(**keys) == []


NUMBERS = st.one_of(
    st.integers(-5, 300), st.floats(), st.sampled_from(["8", "0.1", "true", ""]), st.booleans()
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["fraction", "bits", "block", "level", "sync_frequency", "window", "x"]),
    st.one_of(NUMBERS, st.none(), st.lists(NUMBERS, max_size=2)),
    max_size=3,
)
NAMES = st.one_of(st.sampled_from([*STEP_IDS, *OTHER_STEPS, "Top_K", "", "x" * 300]), NUMBERS)
STEPS = st.one_of(
    NAMES,
    st.fixed_dictionaries({"id": NAMES}, optional={"parameters": PARAMETERS}),
    st.fixed_dictionaries({"name": NAMES}, optional={"parameters": PARAMETERS, "id": NAMES}),
)


@given(st.one_of(STEPS, st.lists(STEPS, max_size=10)), st.lists(STEPS, max_size=3))
def test_whatever_is_accepted_is_a_chain_that_the_library_reads(
    transmitter: object, download: object
) -> None:
    """And a hostile file is refused with faults, never with an error."""
    tree = {"model_name": "m", "num_rounds": 1, "transmitter": transmitter, "download": download}
    file = json.dumps(tree).encode()
    try:
        found = parse(file, strategy_faults)
    except JobFileError:
        return
    strategy = resolve_job(found)
    assert chain_of(strategy.compression).steps == strategy.compression
    assert chain_of(strategy.download).steps == strategy.download
    assert chain_of(strategy.download).selection is None
    assert codec.unpack(Strategy, codec.pack(strategy)) == strategy
    assert resolve_job(parse(canonical(found.named("a")))) == strategy
