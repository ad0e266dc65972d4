"""Rounds of strategies that need more than a mean: facts, enough updates, a state, plug-ins."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedbus.errors import WireError
from fedbus.jobs import StrategyConfig
from fedbus.model.blob import decode, encode
from fedbus.model.blob_header import blob_size
from fedbus.model.sections import state_layout, update_layout
from fedbus.strategies.resolution import resolve
from fedbus.training.params import PluginChoice
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus.wire.messages import Commit, Dismiss, Offer, OpenRound
from fedbus.wire.strategies import Strategy, StrategyState, TrainingFacts
from fedbus_collector import keys
from tests.collector.harness import (
    BASE,
    CONTROLLER,
    JOB,
    LAYOUT,
    REPOSITORY,
    SPEC,
    A,
    B,
    C,
    Harness,
    blob,
    mean,
    offer,
    order,
    version,
)
from tests.plugin_package import Install

KEY = (JOB, 1)
ADAM = resolve(StrategyConfig(id="fedadam"))
STATE_LAYOUT = state_layout(LAYOUT, ADAM.state)
STATE = bytes(encode({name: np.full(9, 0.5, np.float32) for name in ADAM.state}, STATE_LAYOUT))


def later(state: bytes = STATE, ref: BlobRef | None = None, **changes: Any) -> OpenRound:  # noqa: ANN401 - of a plan
    """Order a round of a strategy that has a state already."""
    kept = StrategyState(rounds=4, arrays=ref or blob_ref_of(state))
    return order(strategy=ADAM, state=kept, **changes)


def close(harness: Harness, what: OpenRound, values: tuple[float, ...] = (1.0, 3.0, 8.0)) -> None:
    """Open a round, and let three updates come."""
    harness.open(what)
    for agent, value in zip((A, B, C), values, strict=True):
        harness.give(agent, value)


def first_number(harness: Harness) -> float:
    """Return a number of the new version."""
    return float(decode(harness.out(harness.commit), LAYOUT)["w"][0, 0])


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_median_is_of_all_updates_and_has_no_coefficients() -> None:
    """The updates are kept until the round closes, and freed then."""
    harness = Harness()
    close(harness, order(strategy=resolve(StrategyConfig(id="median"))))
    assert first_number(harness) == 1.0 + 3.0
    record = harness.commit.record
    assert [c.coefficient for c in record.contributors] == [None] * 3
    assert (record.state, record.base_coefficient) == (None, 1.0)
    harness.confirm()
    assert harness.spools.used == len(BASE)


def test_krum_chooses_an_update_and_the_record_says_which() -> None:
    """All three delivered; one makes the version."""
    harness = Harness()
    close(harness, order(strategy=resolve(StrategyConfig(id="krum"))), (1.0, 1.5, 100.0))
    assert [c.coefficient for c in harness.commit.record.contributors] == [1.0, 0.0, 0.0]
    assert first_number(harness) == 2.0


@pytest.mark.parametrize("late", [False, True], ids=["refused", "late"])
def test_a_round_with_fewer_updates_than_its_rule_needs_fails(late: bool) -> None:
    """The quorum is the job's; the rule's own least number is another."""
    harness = Harness()
    harness.open(order(strategy=resolve(StrategyConfig(id="krum"))))
    harness.give(A)
    harness.give(B)
    if late:
        harness.wait(10.0)
    else:
        harness.give(C, float("nan"))
    assert harness.ended.reason.startswith("krum needs 3 updates, 2 of 3 came; 1 ")
    assert harness.spools.used == len(BASE)


# ── facts ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fact", "given", "reason"),
    [
        ("steps", TrainingFacts(), "steps are missing: the strategy fedavg needs them"),
        ("base_loss", TrainingFacts(), "base_loss is missing: the strategy fedavg needs it"),
        ("steps", TrainingFacts(base_loss=1.0), "steps are missing"),
        ("norm_bit", TrainingFacts(), "norm_bit is missing: the strategy fedavg needs it"),
    ],
)
def test_an_offer_without_a_fact_that_the_strategy_needs_is_refused(
    fact: Any,  # noqa: ANN401 - a literal
    given: TrainingFacts,
    reason: str,
) -> None:
    """It costs only itself."""
    harness = Harness()
    harness.open(order(strategy=replace(mean(), facts=(fact,))))
    update = blob(1.0, "delta")
    harness.receive(A, offer(update, inline=update, facts=given))
    assert harness.receipts()[A].reason.startswith(reason)
    both = TrainingFacts(steps=7, base_loss=0.5, norm_bit=1.0)
    for agent in (B, C):
        harness.receive(agent, offer(update, inline=update, facts=both))
        harness.run_calls()
    assert [c.facts for c in harness.commit.record.contributors] == [both, both]


@pytest.mark.parametrize(
    "facts",
    [
        TrainingFacts(steps=-1),
        TrainingFacts(steps=0),
        TrainingFacts(steps=10**12),
        TrainingFacts(base_loss=float("nan")),
        TrainingFacts(base_loss=float("inf")),
    ],
)
def test_facts_that_cannot_be_true_are_refused_with_their_offer(facts: TrainingFacts) -> None:
    """The message is not read, so no rule meets them."""
    with pytest.raises(WireError, match=r"Offer\.facts"):
        codec.unpack(Offer, codec.pack(offer(blob(1.0, "delta"), facts=facts)))


# ── state ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_round_of_a_strategy_begins_its_state() -> None:
    """Both blobs are served, and the record names the state for the next plan."""
    harness = Harness()
    close(harness, order(strategy=ADAM))
    state = harness.commit.record.state
    assert state is not None
    assert state.arrays is not None
    assert (state.rounds, state.arrays.size) == (1, blob_size(STATE_LAYOUT, "plain"))
    source = harness.served[state.arrays.digest]
    arrays = decode(bytes(source.read(0, source.size)), STATE_LAYOUT)
    np.testing.assert_allclose(arrays["first_moment"][:3], 0.1 * 8.0 * np.ones(3))
    assert len(harness.served) == 2
    harness.confirm()
    assert harness.served == {}
    assert harness.spools.used == len(BASE) + len(STATE)


def test_the_next_round_finds_its_state_in_the_cache() -> None:
    """This collector has made it."""
    harness = Harness()
    close(harness, order(strategy=ADAM))
    made, state = harness.out(harness.commit), harness.commit.record.state
    harness.confirm()
    harness.receive(
        CONTROLLER,
        order(strategy=ADAM, round=2, task=2, base=version(2, made), state=state),
    )
    assert harness.fetches == {}


def test_another_collector_fetches_the_state_from_the_source_of_the_base() -> None:
    """And continues as the first would have: the same numbers from the same blobs."""
    harness = Harness()
    harness.open(later())
    fetch = harness.fetches[keys.StateFetch(*KEY)]
    assert (fetch.location.source, fetch.members) == (REPOSITORY, 0)
    for agent in (A, B, C):
        harness.give(agent, 4.0)
    assert keys.CommitRequest(*KEY) not in harness.asks
    harness.complete_fetch(keys.StateFetch(*KEY), STATE)
    harness.run_calls()
    state = harness.commit.record.state
    assert state is not None
    assert state.rounds == 5
    first, second = 0.9 * 0.5 + 0.1 * 4.0, 0.99 * 0.5 + 0.01 * 16.0
    assert first_number(harness) == pytest.approx(1 + 0.1 * first / (np.sqrt(second) + 0.001))


def test_a_state_that_does_not_arrive_is_fetched_again_until_the_deadline() -> None:
    """As the base is."""
    harness = Harness()
    harness.open(later())
    harness.fail_fetch(keys.StateFetch(*KEY))
    harness.wait(2.0)
    assert keys.StateFetch(*KEY) in harness.fetches
    for agent in (A, B, C):
        harness.give(agent)
    harness.wait(8.0)
    harness.fail_fetch(keys.StateFetch(*KEY))
    assert harness.ended.reason == "the model's state did not arrive: its source is gone"


def test_a_state_that_is_here_is_not_fetched_again() -> None:
    """When the base has to be."""
    harness = Harness()
    harness.receive(CONTROLLER, later())
    harness.complete_fetch(keys.LayoutFetch(*KEY), SPEC)
    harness.complete_fetch(keys.StateFetch(*KEY), STATE)
    harness.run_calls()
    harness.fail_fetch(keys.BaseFetch(*KEY))
    harness.wait(2.0)
    assert set(harness.fetches) == {keys.BaseFetch(*KEY)}


def test_a_damaged_state_fails_the_round_and_is_not_kept() -> None:
    """The next plan fetches it again."""
    harness = Harness()
    harness.open(later())
    harness.complete_fetch(keys.StateFetch(*KEY), STATE[:-4] + b"\0\0\0\1")
    harness.run_calls()
    assert harness.ended.reason == "the state's bytes are not those of its digest"
    assert harness.spools.used == len(BASE)


def test_a_state_of_another_model_fails_the_round() -> None:
    """It has the right size and digest; its header says whose it is."""
    layout = state_layout(LAYOUT, ("first_momenta", "second_momenta"))
    foreign = bytes(encode({t.name: np.zeros(9, np.float32) for t in layout.tensors}, layout))
    harness = Harness()
    harness.open(later(foreign))
    harness.complete_fetch(keys.StateFetch(*KEY), foreign)
    for agent in (A, B, C):
        harness.give(agent)
    assert harness.ended.reason.startswith("aggregate: a blob of layout")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (
            later(ref=replace(blob_ref_of(STATE), size=2**36)),
            f"a state of {2**36} bytes; the strategy's has {len(STATE)}",
        ),
        (
            order(strategy=ADAM, state=StrategyState(rounds=4)),
            "the plan's state has no arrays; the strategy keeps first_moment, second_moment",
        ),
        (
            order(state=StrategyState(rounds=4, arrays=blob_ref_of(STATE))),
            "the plan's state has arrays; the strategy keeps none",
        ),
    ],
    ids=["size", "no arrays", "no names"],
)
def test_a_plan_whose_state_does_not_fit_fails_before_it_is_fetched(
    what: OpenRound, reason: str
) -> None:
    """Nothing is reserved for it."""
    harness = Harness()
    harness.open(what)
    assert harness.ended.reason == reason
    assert harness.spools.used <= len(BASE)


def test_a_failed_round_keeps_the_state_for_the_plan_that_follows() -> None:
    """As it keeps the base."""
    harness = Harness()
    harness.open(later())
    harness.complete_fetch(keys.StateFetch(*KEY), STATE)
    harness.run_calls()
    harness.wait(10.0)
    assert harness.ended.version is None
    harness.receive(CONTROLLER, later(task=2))
    assert harness.fetches == {}


DECAYS = """
class Decays:
    def apply(self, base, combined, state):
        return base + combined.update / combined.round
"""


def test_a_server_optimizer_without_arrays_counts_its_rounds(install: Install) -> None:
    """A rate that decays must not begin again with each round."""
    install("acme_decays", "[fedbus.server_optimizers]\ndecays = acme_decays:Decays", DECAYS)
    strategy = replace(mean(), server_optimizer=PluginChoice(id="decays"))
    harness = Harness()
    close(harness, order(strategy=strategy), (4.0, 4.0, 4.0))
    state = harness.commit.record.state
    assert state == StrategyState(rounds=1)
    assert first_number(harness) == 1.0 + 4.0
    harness = Harness()
    close(harness, order(strategy=strategy, state=state), (4.0, 4.0, 4.0))
    assert harness.commit.record.state == StrategyState(rounds=2)
    assert first_number(harness) == 1.0 + 4.0 / 2


def test_numbers_of_a_state_are_carried_unchanged() -> None:
    """If no part of the strategy changes them."""
    harness = Harness()
    close(harness, order(state=StrategyState(rounds=2, numbers={"clip": 0.5})))
    state = harness.commit.record.state
    assert state == StrategyState(rounds=3, numbers={"clip": 0.5})


ADAPTS = """
class Adapts:
    def next_numbers(self, numbers, facts):
        loss = sum(f.base_loss * f.examples for f in facts) / sum(f.examples for f in facts)
        rate = numbers.get("rate", 1.0) / (2 if loss > numbers.get("loss", loss) else 1)
        return {"rate": rate, "loss": loss}

    def apply(self, base, combined, state):
        return base + combined.numbers["rate"] * combined.update

class Clips:
    def next_numbers(self, numbers, facts):
        return {"clip": numbers.get("clip", 8.0) / len(facts)}

    def transform_combined(self, combined):
        return combined.update.clip(-combined.numbers["clip"], combined.numbers["clip"])
"""
ADAPTS_ENTRIES = """
[fedbus.server_optimizers]
adapts = acme_adapts:Adapts
[fedbus.update_transforms]
clips = acme_adapts:Clips
"""


def test_numbers_adapt_over_rounds_and_collectors(install: Install) -> None:
    """A server learning rate is halved when the loss rises; each round has another collector."""
    install("acme_adapts", ADAPTS_ENTRIES, ADAPTS)
    strategy = replace(
        mean(),
        server_optimizer=PluginChoice(id="adapts"),
        update_transforms=(PluginChoice(id="clips"),),
        facts=("base_loss",),
    )
    state, update = None, blob(6.0, "delta")
    wanted = [(2.0, 1.0, 4.0), (1.0, 1.0, 2.0), (3.0, 0.5, 1.0), (4.0, 0.25, 0.5)]
    for at, (loss, rate, clip) in enumerate(wanted, start=1):
        harness = Harness()
        harness.open(order(strategy=strategy, state=state))
        for agent, change in ((A, -0.5), (B, 0.5)):
            facts = TrainingFacts(base_loss=loss + change)
            harness.receive(agent, offer(update, inline=update, facts=facts))
            harness.run_calls()
        harness.receive(CONTROLLER, Dismiss(epoch=1, job=JOB, task=1, agents=(C,), reason="lost"))
        harness.run_calls()
        record = harness.commit.record
        numbers = {"clip": clip, "rate": rate, "loss": loss}
        assert record.state == StrategyState(rounds=at, numbers=numbers)
        assert first_number(harness) == pytest.approx(1.0 + rate * clip)
        state = codec.unpack(Commit, codec.pack(harness.commit)).record.state


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ("[1.0]", "next_numbers returned a list; expected numbers by name"),
        ("{'a b': 1.0}", "next_numbers: 'a b' is no name of a number"),
        ("{'rate': float('nan')}", "next_numbers: rate is nan; expected a finite number"),
        ("{'rate': None}", "next_numbers: rate is no number"),
        (
            "{'rate': type('Slow', (), {'__float__': lambda _: __import__('time').sleep(9)})()}",
            "next_numbers: rate is no number: ",
        ),
        ("{f'n{i}': 1.0 for i in range(65)}", "65 numbers in all; a state has at most 64"),
        ("numbers.pop('none')", "none"),
        ("__import__('time').sleep(9)", "it did not answer in 0.2 s"),
    ],
)
def test_numbers_that_no_state_can_hold_fail_the_round(
    result: str, sentence: str, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the name of the part; the service goes on."""
    source = f"""
class Bad:
    def next_numbers(self, numbers, facts):
        return {result}

    def apply(self, base, combined, state):
        return base
"""
    install("acme_bad", "[fedbus.server_optimizers]\nbad = acme_bad:Bad", source)
    monkeypatch.setattr("fedbus_collector.collector_parts.PART_TIMEOUT_SECONDS", 0.2)
    harness = Harness()
    close(harness, order(strategy=replace(mean(), server_optimizer=PluginChoice(id="bad"))))
    assert "server optimizer 'bad': " in harness.ended.reason
    assert sentence in harness.ended.reason


# ── sections ──────────────────────────────────────────────────────────────────────────────────────

SCAFFOLD = resolve(StrategyConfig(id="scaffold", population=6))


def with_control(value: float, control: float) -> bytes:
    """Write an update that has a section."""
    layout = update_layout(LAYOUT, SCAFFOLD.sections)
    arrays = {"w": np.full((2, 3), value, np.float32), "b": np.full(3, value, np.float32)}
    return bytes(
        encode({**arrays, "section:control": np.full(9, control, np.float32)}, layout, "delta")
    )


def test_updates_with_sections_have_their_own_layout() -> None:
    """One without them is refused by its size, one with a NaN in a section by its name."""
    harness = Harness()
    harness.open(order(strategy=SCAFFOLD))
    facts = TrainingFacts(steps=1)
    plain = blob(1.0, "delta")
    harness.receive(A, offer(plain, inline=plain, facts=facts))
    (refusal,) = harness.noted("update_refused")
    assert refusal["reason"].startswith("expected an update of")
    good = with_control(2.0, 3.0)
    harness.receive(B, offer(good, inline=good, facts=facts))
    harness.run_calls()
    bad = with_control(2.0, float("nan"))
    harness.receive(C, offer(bad, inline=bad, facts=facts))
    harness.run_calls()
    refusal = harness.noted("update_refused")[-1]
    assert "tensor 'section:control': nan is not a finite" in refusal["reason"]


def test_control_variates_move_by_their_share_of_the_population() -> None:
    """|S| / N of the mean change: two of six agents."""
    harness = Harness()
    harness.open(order(strategy=SCAFFOLD))
    for agent, value, control in ((A, 2.0, 3.0), (B, 4.0, 9.0)):
        update = with_control(value, control)
        harness.receive(agent, offer(update, inline=update, facts=TrainingFacts(steps=1)))
        harness.run_calls()
    harness.wait(10.0)
    harness.run_calls()
    state = harness.commit.record.state
    assert state is not None
    assert state.arrays is not None
    source = harness.served[state.arrays.digest]
    layout = state_layout(LAYOUT, SCAFFOLD.state)
    arrays = decode(bytes(source.read(0, source.size)), layout)
    np.testing.assert_allclose(arrays["control"], 2 / 6 * 6.0)
    assert first_number(harness) == 1.0 + 3.0


# ── third-party plug-ins ──────────────────────────────────────────────────────────────────────────

PARTS = """
import sys
import time
import numpy as np
from fedbus.plugins import Coefficients

class Fails:
    def __init__(self, *, how: str = "raise") -> None:
        self.how = how

    def fail(self):
        if self.how == "raise":
            raise RuntimeError("of itself")
        if self.how == "exit":
            sys.exit(3)
        if self.how == "hang":
            time.sleep(1.0)
        return float("nan")

class FailsToWeight(Fails):
    def weight(self, facts):
        return self.fail()

class FailsToWeigh(Fails):
    def weigh(self, facts, gram):
        return Coefficients([self.fail()] * len(facts))

class FailsToCombine(Fails):
    def combine(self, blocks, weights):
        return np.full(blocks.shape[1], self.fail())

class FailsToApply(Fails):
    def apply(self, base, combined, state):
        return base + self.fail()

class FailsToTransform(Fails):
    def transform_combined(self, combined):
        return combined.update + self.fail()

class FailsToBeMade(Fails):
    def __init__(self, *, how: str = "raise") -> None:
        self.how = how
        self.fail()

    def weight(self, facts):
        return float("nan")
"""
ENTRIES = """
[fedbus.aggregators]
weight = acme_fails:FailsToWeight
weigh = acme_fails:FailsToWeigh
combine = acme_fails:FailsToCombine
make = acme_fails:FailsToBeMade
[fedbus.server_optimizers]
apply = acme_fails:FailsToApply
[fedbus.update_transforms]
transform = acme_fails:FailsToTransform
"""


@pytest.mark.parametrize("part", ["weight", "weigh", "combine", "apply", "transform", "make"])
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", "of itself"),
        ("exit", "it called sys.exit: 3"),
        ("hang", "it did not answer in 0.2 s"),
        ("nan", "nan"),
    ],
)
def test_a_plug_in_that_fails_fails_its_round_with_a_sentence(
    part: str, how: str, said: str, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named; the service lives; the base is kept for the next plan."""
    install("acme_fails", ENTRIES, PARTS)
    monkeypatch.setattr("fedbus_collector.collector_parts.PART_TIMEOUT_SECONDS", 0.2)
    choice = PluginChoice(id=part, parameters={"how": how})
    strategy = Strategy(id="own", aggregator=choice)
    if part == "apply":
        strategy = replace(mean(), server_optimizer=choice)
    elif part == "transform":
        strategy = replace(mean(), update_transforms=(choice,))
    harness = Harness()
    harness.open(order(strategy=strategy))
    for agent in (A, B, C):
        harness.give(agent)
        if keys.RoundEndReport(*KEY) in harness.asks:
            break
    assert f"{part!r}: " in harness.ended.reason
    assert said in harness.ended.reason
    before_the_base = part == "make" and how != "nan"
    assert harness.spools.used == (0 if before_the_base else len(BASE))
    harness.open(order(task=2))
    assert harness.core.progress() == 0.0
    harness.receive(A, offer(blob(1.0, "delta"), inline=blob(1.0, "delta"), task=2))
    harness.run_calls()
    assert harness.core.progress() == pytest.approx(1 / 3)


def test_a_transform_of_agents_alone_is_not_called_by_the_collector(install: Install) -> None:
    """It has changed the updates before they came."""
    source = "class Own:\n    def transform_update(self, update, rng):\n        return update"
    install("acme_own", "[fedbus.update_transforms]\nown = acme_own:Own", source)
    harness = Harness()
    close(harness, order(strategy=replace(mean(), update_transforms=(PluginChoice(id="own"),))))
    assert first_number(harness) == 1.0 + 4.0


def test_third_party_parts_never_run_between_two_events(install: Install) -> None:
    """A part that hangs must not keep the service from answering."""
    install("acme_fails", ENTRIES, PARTS)
    choice = PluginChoice(id="transform", parameters={"how": "nan"})
    harness = Harness()
    for number, transforms in enumerate([(), (choice,)], start=1):
        strategy = replace(mean(), update_transforms=transforms)
        harness.open(order(task=number, strategy=strategy))
        update = blob(1.0, "delta")
        harness.receive(A, offer(update, inline=update, task=number))
        (run,) = harness.runs
        assert run.brief != bool(transforms)
        harness.run_calls()
