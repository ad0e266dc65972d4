"""Strategies as people read them."""

from dataclasses import replace

from fedbus.training.params import PluginChoice
from fedbus.wire.compression import Freezing, SyncFrequency
from fedbus.wire.encryption import UNKNOWN_KEY_ID, EncryptionTerms, FixedPoint
from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.secure_aggregation import SecureAggregationTerms
from fedbus.wire.strategies import Strategy
from fedbus.wire.strategy_text import format_strategy, strategy_differences

FEDADAM = Strategy(
    id="fedadam",
    aggregator=PluginChoice(id="mean", parameters={"weighted": True}),
    server_optimizer=PluginChoice(id="adam", parameters={"tau": 0.001, "beta_1": 0.9}),
    state=("momentum", "variance"),
)


def test_a_strategy_is_written_with_its_parts_and_their_parameters() -> None:
    """In one line, as a table has it."""
    assert format_strategy(FEDADAM) == (
        "fedadam: mean(weighted=True), server optimizer adam(beta_1=0.9, tau=0.001)"
    )
    everything = replace(
        FEDADAM,
        server_optimizer=None,
        objective=PluginChoice(id="proximal", parameters={"proximal_mu": 0.1}),
        update_transforms=(PluginChoice(id="clip"), PluginChoice(id="noise")),
        population=100,
    )
    assert format_strategy(everything) == (
        "fedadam: mean(weighted=True), objective proximal(proximal_mu=0.1), transform clip, "
        "transform noise, population 100"
    )


def test_two_strategies_differ_by_the_keys_of_a_job_file() -> None:
    """The user finds what to change."""
    assert strategy_differences(FEDADAM, FEDADAM) == []
    plain = replace(FEDADAM, aggregator=PluginChoice(id="mean", parameters={"weighted": False}))
    assert strategy_differences(FEDADAM, plain) == [
        "aggregator.parameters.weighted is true here and false there"
    ]
    other = replace(
        FEDADAM,
        server_optimizer=PluginChoice(id="adam", parameters={"beta_1": 0.8}),
        update_transforms=(PluginChoice(id="clip"),),
        population=9,
        state=("momentum",),
    )
    assert strategy_differences(FEDADAM, other) == [
        "server_optimizer.parameters.beta_1 is 0.9 here and 0.8 there",
        "server_optimizer.parameters.tau is 0.001 here and left out there",
        "state is momentum, variance here and momentum there",
        "update_transforms[0].id is left out here and clip there",
        "population is left out here and 9 there",
    ]


def test_two_strategies_differ_by_what_they_promise() -> None:
    """A version's ε is that of the terms with which it was made."""
    terms = PrivacyTerms(
        mechanism="dp-fixed", release="gaussian", noise_multiplier=1.1, delta=1e-5, cohort=20
    )
    here = replace(FEDADAM, privacy=terms)
    there = replace(FEDADAM, privacy=replace(terms, noise_multiplier=1.0, target_epsilon=3.0))
    assert strategy_differences(here, there) == [
        "privacy.noise_multiplier is 1.1 here and 1.0 there",
        "privacy.target_epsilon is left out here and 3.0 there",
    ]
    assert format_strategy(here).startswith("fedadam: mean(weighted=True), server optimizer adam(")
    assert format_strategy(here).endswith(", privacy of each agent (dp-fixed): " + END)


END = (
    "Gaussian noise of the collector with the multiplier 1.1, 20 agents in a round, ε for δ = "
    "1e-05 by pld"
)


def test_a_strategy_is_written_with_how_its_updates_travel() -> None:
    """Encrypted or masked, or in fewer bytes."""
    bits = FixedPoint(bits=11, max_agents=5, max_examples=1)
    encryption = EncryptionTerms(
        scheme="bfv",
        key="ab" * 32,
        parameters="cd" * 32,
        poly_modulus_degree=4096,
        coeff_mod_bit_sizes=(54, 55),
        fixed_point=bits,
    )
    mean = Strategy(id="fedavg", aggregator=PluginChoice(id="mean"))
    assert format_strategy(replace(mean, encryption=encryption)) == (
        "fedavg: mean, updates encrypted with bfv and key abababababab, 11 bits a number"
    )
    unknown = replace(encryption, key=UNKNOWN_KEY_ID)
    assert format_strategy(replace(mean, encryption=unknown)) == (
        "fedavg: mean, updates encrypted with bfv and the controller's key, 11 bits a number"
    )
    ckks = replace(encryption, scheme="ckks")
    assert format_strategy(replace(mean, encryption=ckks)) == (
        "fedavg: mean, updates encrypted with ckks and key abababababab"
    )
    masking = SecureAggregationTerms(
        fixed_point=bits, neighbours=20, threshold=0.67, step_seconds=10
    )
    assert format_strategy(replace(mean, masking=masking)) == (
        "fedavg: mean, updates masked among at most 20 neighbours with threshold 0.67, "
        "11 bits a number"
    )
    steps = (PluginChoice(id="top-k", parameters={"fraction": 0.1}), PluginChoice(id="zstandard"))
    smaller = replace(
        mean,
        compression=steps,
        download=steps[1:],
        freezing=Freezing(),
        sync=SyncFrequency(),
        measures_energy=True,
    )
    assert format_strategy(smaller) == (
        "fedavg: mean, updates made smaller by top-k(fraction=0.1) and zstandard, versions made "
        "smaller by zstandard, stable parameters frozen, 10 epochs between rounds, which shrink, "
        "energy measured"
    )
