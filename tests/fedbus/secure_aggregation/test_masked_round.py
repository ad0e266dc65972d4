"""The collector's part: malformed answers are refused by name, and the round goes on or fails."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.key_agreement import SEAL_BYTES
from fedbus.secure_aggregation.masked_round import MaskedRound
from fedbus.secure_aggregation.signed_sets import keys_to_sign
from fedbus.wire import codec
from fedbus.wire.secure_aggregation import STEPS, StepName
from fedbus.wire.step_contents import (
    REPLIES,
    OpenShareOf,
    SharesRevealed,
    SharesSealed,
    ShareTo,
)
from tests.fedbus.secure_aggregation.masked_agents import (
    ANY_TERMS,
    TASK,
    UPDATE,
    Federation,
    names,
    terms,
)
from tests.fedbus.secure_aggregation.test_agent_steps import federation_at

ROGUE = "agent.a002"


def refused(step: StepName, change: Callable[[Any], object], count: int = 6) -> str:
    """Return why a changed answer of one agent is refused; the round then ends with the sum."""
    federation = federation_at(step, count)
    collector = federation.collector
    for name, (asked, content) in collector.requests().items():
        reply = federation.agents[name].answer(asked, content)
        if name == ROGUE:
            reply = codec.pack(change(codec.unpack(REPLIES[step], reply)))
            reason = collector.reply(name, asked, reply)
            assert name in reason
            assert name not in collector.waited_for
            assert collector.reply(name, asked, reply) == f"{name} is not asked in the step {step}"
        else:
            assert collector.reply(name, asked, reply) == ""
    collector.advance()
    while not collector.done:
        assert not collector.failed
        federation.run_step()
    assert (ROGUE in collector.survivors) == (step in {"survivors", "unmask"})
    assert np.array_equal(federation.unmasked(), federation.plain(collector.survivors))
    return reason


def low_order_key(federation: Federation, keys: Any) -> object:  # noqa: ANN401 - AgentKeys
    """Return keys, well signed, with which each secret is zero."""
    message = keys_to_sign(TASK, ROGUE, bytes(32), keys.share_key)
    signature = federation.identities[ROGUE].sign(message)
    return replace(keys, mask_key=bytes(32), signature=signature)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda keys: replace(keys, agent="agent.a001"), "sent keys of agent.a001"),
        (lambda keys: replace(keys, mask_key=keys.share_key), "has not signed its keys"),
        (lambda keys: low_order_key(Federation(6), keys), "no secret can be agreed"),
    ],
)
def test_wrong_keys_are_refused(change: Callable[[Any], object], reason: str) -> None:
    """Before they are sent to all neighbours, who would leave the round."""
    assert reason in refused("keys", change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda sent: replace(sent, shares=sent.shares[1:]), "not one for each neighbour"),
        (lambda sent: replace(sent, shares=sent.shares[::-1]), "not one for each neighbour"),
        (lambda sent: replace(sent, shares=(*sent.shares, sent.shares[0])), "not one for each"),
        (
            lambda sent: replace(sent, shares=(ShareTo(agent=ROGUE, sealed=b"x"), *sent.shares)),
            "sent a share to itself",
        ),
    ],
)
def test_wrong_sets_of_shares_are_refused(change: Callable[[Any], object], reason: str) -> None:
    """A neighbour would get none, or two."""
    assert reason in refused("shares", change)


@pytest.mark.parametrize("step", STEPS)
def test_bytes_that_are_no_answer_are_refused(step: StepName) -> None:
    """The agent is out, as one that does not answer."""
    federation = federation_at(step)
    reason = federation.collector.reply(ROGUE, step, b"\xc1")
    assert reason.startswith(f"{ROGUE}: ")
    assert reason.endswith(f"(step {step})")
    assert ROGUE not in federation.collector.waited_for


def test_a_wrong_signature_over_the_survivors_is_refused() -> None:
    """The agent's update stays in the sum: the others remove its masks."""
    reason = refused("survivors", lambda signed: replace(signed, signature=bytes(64)))
    assert "has not signed the survivors" in reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda sent: SharesRevealed(dropped=sent.survived, survived=()), "among those that drop"),
        (lambda sent: replace(sent, survived=(*sent.survived, sent.survived[0])), "not sorted"),
        (lambda sent: replace(sent, survived=(sent.survived[0],) * 2), "twice"),
        (
            lambda sent: replace(sent, survived=(OpenShareOf(agent="agent.x", share=b"x"),)),
            "a share of agent.x among those that survived",
        ),
        (
            lambda sent: replace(sent, survived=(OpenShareOf(agent="agent.a001", share=b"x"),)),
            "1 bytes that are no share, of agent.a001",
        ),
    ],
)
def test_wrong_sets_of_revealed_shares_are_refused(
    change: Callable[[Any], object], reason: str
) -> None:
    """None of them is used."""
    assert reason in refused("unmask", change)


def revealing(federation: Federation, rogues: tuple[str, ...]) -> MaskedRound:
    """Return a collector that got wrong shares of each agent's secret from some agents."""
    collector = federation.collector
    for name, (step, content) in collector.requests().items():
        reply = federation.agents[name].answer(step, content)
        if name in rogues:
            sent: SharesRevealed = codec.unpack(REPLIES[step], reply)
            wrong = tuple(replace(each, share=bytes(33)) for each in sent.survived)
            reply = codec.pack(replace(sent, survived=wrong))
        assert collector.reply(name, step, reply) == ""
    collector.advance()
    return collector


def test_a_wrong_share_is_found_and_its_agent_named() -> None:
    """One more than the threshold is enough."""
    federation = federation_at("unmask", 6)
    collector = revealing(federation, (ROGUE,))
    assert collector.done
    assert collector.wrong == {ROGUE}
    assert np.array_equal(federation.unmasked(), federation.plain(federation.names))


def test_too_many_wrong_shares_fail_the_round() -> None:
    """The sum would be noise."""
    federation = federation_at("unmask", 6)
    collector = revealing(federation, (ROGUE, "agent.a003"))
    assert not collector.done
    assert collector.wrong == frozenset()
    assert collector.failed.startswith("the sum cannot be unmasked: 6 shares that do not give")
    assert collector.failed.endswith("of agent.a000")
    with pytest.raises(MaskingError, match="the sum cannot be unmasked"):
        collector.masks()


def test_an_agent_that_shared_another_secret_is_named() -> None:
    """The digest of its seed does not fit its shares."""
    federation = federation_at("shares", 6)
    collector = federation.collector
    for name, (step, content) in collector.requests().items():
        reply = federation.agents[name].answer(step, content)
        if name == ROGUE:
            sent: SharesSealed = codec.unpack(REPLIES[step], reply)
            reply = codec.pack(replace(sent, seed_digest="0" * 64))
        assert collector.reply(name, step, reply) == ""
    collector.advance()
    federation.run()
    assert collector.failed.endswith(f"of {ROGUE}")


def test_shares_that_do_not_decrypt_do_not_end_the_round() -> None:
    """A dishonest agent encrypts nonsense for one neighbour, which goes on without that share.

    The shares of the others are enough.
    """
    federation = federation_at("shares", 6)
    collector = federation.collector
    for name, (step, content) in collector.requests().items():
        reply = federation.agents[name].answer(step, content)
        if name == ROGUE:
            sent: SharesSealed = codec.unpack(REPLIES[step], reply)
            first, *rest = sent.shares
            spoiled = replace(first, sealed=bytes(SEAL_BYTES + 66))
            reply = codec.pack(replace(sent, shares=(spoiled, *rest)))
        assert collector.reply(name, step, reply) == ""
    collector.advance()
    federation.run()
    assert collector.failed == ""
    assert collector.wrong == frozenset()
    assert np.array_equal(federation.unmasked(), federation.plain(federation.names))


def test_an_answer_is_taken_once() -> None:
    """Its repetition is nothing new, and another one does not replace it."""
    federation = federation_at("survivors", 6)
    collector = federation.collector
    step, content = collector.requests()[ROGUE]
    reply = federation.agents[ROGUE].answer(step, content)
    assert collector.reply(ROGUE, step, reply) == ""
    assert collector.reply(ROGUE, step, reply) == ""
    assert ROGUE not in collector.requests()
    other = codec.pack(replace(codec.unpack(REPLIES[step], reply), signature=bytes(64)))
    assert "has answered the step survivors in another way before" in collector.reply(
        ROGUE, step, other
    )
    federation.run_step()
    assert collector.reply(ROGUE, step, reply) == ""
    federation.run()
    assert np.array_equal(federation.unmasked(), federation.plain(federation.names))


def test_answers_to_other_steps_and_of_strangers_are_refused() -> None:
    """They belong to another round, or come late."""
    federation = federation_at("mask")
    collector = federation.collector
    assert "the step unmask is not the one" in collector.reply(ROGUE, "unmask", b"")
    assert "agent.x is not asked" in collector.reply("agent.x", "mask", b"")


def test_a_masked_update_is_taken_once_and_in_its_step() -> None:
    """Added twice, its masks would not cancel out."""
    federation = federation_at("mask", 6)
    collector = federation.collector
    assert "agent.x offers a masked update and has not shared" in collector.update_taken(
        "agent.x", UPDATE
    )
    federation.run_step(absent=[ROGUE])
    assert "not the one asked now" in collector.update_taken(ROGUE, UPDATE)
    again = federation_at("mask", 6)
    for name, (step, content) in again.collector.requests().items():
        again.collector.reply(name, step, again.agents[name].answer(step, content))
    assert again.offer(ROGUE) == ""
    assert "offers a second masked update" in again.collector.update_taken(ROGUE, UPDATE)


def test_who_leaves_is_not_waited_for() -> None:
    """What it has offered stays in the sum."""
    federation = federation_at("mask", 8)
    collector = federation.collector
    assert collector.waited_for == federation.names
    for name, (step, content) in collector.requests().items():
        collector.reply(name, step, federation.agents[name].answer(step, content))
        if name != "agent.a007":
            federation.offer(name)
    assert collector.waited_for == ("agent.a007",)
    assert not collector.everything_answered
    collector.leave("agent.a007")
    collector.leave("agent.a006")
    assert collector.everything_answered
    collector.advance()
    assert collector.survivors == names(7)
    federation.run()
    assert np.array_equal(federation.unmasked(), federation.plain(names(7)))


@pytest.mark.parametrize("step", STEPS)
def test_a_round_with_too_few_agents_fails_and_reveals_nothing(step: StepName) -> None:
    """In each step; nothing is asked or taken afterwards."""
    federation = Federation(6)
    federation.run({step: federation.names[:2]})
    collector = federation.collector
    assert collector.failed
    if step != "unmask":
        assert "agents" in collector.failed
        assert "and 5 are needed" in collector.failed
    assert collector.requests() == {}
    assert collector.update_taken(ROGUE, UPDATE)
    assert collector.reply(ROGUE, "unmask", b"")
    failed = collector.failed
    collector.advance()
    assert collector.failed == failed
    with pytest.raises(MaskingError, match="need"):
        collector.masks()


def test_masks_are_not_known_before_the_last_step() -> None:
    """The sum is masked until then."""
    with pytest.raises(MaskingError, match="not unmasked yet"):
        federation_at("unmask").collector.masks()


def test_two_agents_are_too_few() -> None:
    """Each would compute the other's update."""
    assert Federation(2).collector.failed == "2 agents are in the cohort, and 3 are needed"


def test_a_sum_of_two_updates_is_not_asked_for() -> None:
    """Whatever the threshold: with 0.6 one of three agents may be missing."""
    federation = Federation(3, terms=terms(threshold=0.6))
    federation.run({"mask": federation.names[2:]})
    said = "2 agents have offered their masked updates, and 3 are needed"
    assert federation.collector.failed == said


def test_agents_with_too_few_neighbours_left_do_not_mask() -> None:
    """On a circle, one that is left alone is out before it masks; then others may be."""
    federation = Federation(20, terms=terms(8, 0.51), accepted=ANY_TERMS)
    federation.run_step()
    circle = federation.collector._progress.graph._circle  # noqa: SLF001 - the agents' order
    federation.run_step(absent=[circle[place] for place in (0, 1, 3, 4, 5)])
    federation.run()
    assert federation.collector.failed == ""
    assert set(federation.collector.survivors) == set(circle[6:])
    assert np.array_equal(federation.unmasked(), federation.plain(circle[6:]))
    alone = Federation(20, terms=terms(8, 0.51), accepted=ANY_TERMS)
    alone.run_step()
    alone.run_step(absent=[circle[place] for place in range(20) if place % 5 < 3])
    assert "too few of each neighbourhood" in alone.collector.failed


def test_a_sum_on_a_circle_needs_signers_around_each_agent() -> None:
    """Those that could not reveal for want of signatures are not asked."""
    federation = Federation(12, terms=terms(4, 0.67))
    for _ in range(3):
        federation.run_step()
    circle = federation.collector._progress.graph._circle  # noqa: SLF001
    federation.run_step(absent=[circle[0], circle[1]])
    assert "have signed the survivors" in federation.collector.failed
