"""An agent's steps: once each, repeated with the same bytes, and refused with a sentence."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.agent_record import record_from_bytes
from fedbus.secure_aggregation.agent_secrets import AgentSecrets
from fedbus.secure_aggregation.agent_steps import AgentSteps
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.wire import codec
from fedbus.wire.secure_aggregation import STEPS, AgentKeys, SignedBy, StepName
from fedbus.wire.step_contents import (
    REQUESTS,
    KeysRequest,
    MaskRequest,
    SharesRequest,
    ShareTo,
    SurvivorsRequest,
    UnmaskRequest,
)
from tests.fedbus.secure_aggregation.masked_agents import TASK, UPDATE, Federation, names, terms

AGENT = "agent.a000"


def federation_at(step: StepName, count: int = 5, **options: Any) -> Federation:  # noqa: ANN401
    """Return a round whose current step is this one."""
    federation = Federation(count, **options)
    while federation.collector.step != step:
        federation.run_step()
    return federation


def asked(federation: Federation, agent: str = AGENT) -> Any:  # noqa: ANN401 - of `REQUESTS`
    """Return what the collector asks of an agent now."""
    step, content = federation.collector.requests()[agent]
    return codec.unpack(REQUESTS[step], content)


def refusal(federation: Federation, request: object, agent: str = AGENT) -> str:
    """Return why an agent refuses a request, after a check that it has changed nothing."""
    steps = federation.agents[agent]
    before = steps.to_bytes()
    step = next(name for name, kind in REQUESTS.items() if isinstance(request, kind))
    with pytest.raises(MaskingError) as refused:
        steps.answer(step, codec.pack(request))
    assert steps.to_bytes() == before
    honest_step, honest = federation.collector.requests()[agent]
    assert steps.answer(honest_step, honest)
    return str(refused.value)


@pytest.mark.parametrize("step", STEPS)
def test_a_repeated_request_gets_the_same_bytes_also_after_a_restart(step: StepName) -> None:
    """And another request of the same step is refused."""
    federation = federation_at(step)
    agent = federation.agents[AGENT]
    if step == "keys":
        other: object = KeysRequest(cohort=names(4))
    else:
        other = federation_at(step, 6).collector.requests()[AGENT][1]
        other = codec.unpack(REQUESTS[step], other)
    _, content = federation.collector.requests()[AGENT]
    reply = agent.answer(step, content)
    again = federation.agent(AGENT, agent.to_bytes())
    assert again.to_bytes() == agent.to_bytes()
    for each in (agent, again):
        assert each.answer(step, content) == reply
        assert each.identities_needed(step, content) == frozenset()
        with pytest.raises(MaskingError, match=f"step {step} was answered already, for another"):
            each.answer(step, codec.pack(other))


def test_a_restart_at_each_step_gives_the_same_sum() -> None:
    """The journal has what the later steps need."""
    federation, whole = Federation(6), Federation(6)
    while not federation.collector.done:
        federation.run_step()
        whole.run_step()
        for name, agent in federation.agents.items():
            federation.agents[name] = federation.agent(name, agent.to_bytes())
    assert federation.blobs == whole.blobs
    assert np.array_equal(federation.unmasked(), federation.plain(federation.names))


def test_secrets_leave_the_journal_when_the_update_is_masked() -> None:
    """From then on, the agent alone cannot take its masks away."""
    federation = federation_at("mask")
    agent = federation.agents[AGENT]
    secrets = record_from_bytes(agent.to_bytes()).opened_secrets
    agent.answer(*federation.collector.requests()[AGENT])
    assert secrets.seed in agent.to_bytes()
    federation.offer(AGENT)
    journal = agent.to_bytes()
    assert not any(part in journal for part in (secrets.seed, secrets.mask_key, secrets.share_key))
    assert agent.has_masked
    assert not agent.can_mask
    for text in (repr(secrets), repr(record_from_bytes(journal))):
        assert "seed=b" not in text


@pytest.mark.parametrize("restarted", [False, True])
def test_masks_hide_one_update(restarted: bool) -> None:
    """The difference of two updates with the same masks would be readable."""
    federation = federation_at("survivors")
    agent = federation.agents[AGENT]
    if restarted:
        agent = federation.agent(AGENT, agent.to_bytes())
    with pytest.raises(MaskingError, match="was masked already"):
        agent.mask_update(federation.updates[AGENT], federation.header)


def test_an_update_is_not_masked_before_its_step() -> None:
    """The agent does not know yet for which neighbours."""
    federation = federation_at("mask")
    assert not federation.agents[AGENT].can_mask
    with pytest.raises(MaskingError, match="after the step mask was answered"):
        federation.offer(AGENT)


def test_a_masked_update_that_was_stored_before_a_crash_counts() -> None:
    """The journal was not written any more; the outbox has the update."""
    federation = federation_at("mask")
    agent = federation.agents[AGENT]
    agent.answer(*federation.collector.requests()[AGENT])
    journal = agent.to_bytes()
    federation.offer(AGENT)
    again = federation.agent(AGENT, journal)
    assert again.can_mask
    again.note_masked()
    assert again.has_masked
    assert again.to_bytes() == agent.to_bytes()


@pytest.mark.parametrize("journal", [b"", b"\x80", b"nonsense"])
def test_a_damaged_journal_is_refused(journal: bytes) -> None:
    """The agent leaves the round."""
    with pytest.raises(MaskingError, match="journal of the task is damaged"):
        Federation(3).agent(AGENT, journal)


def test_a_journal_of_another_task_or_agent_is_refused() -> None:
    """Keys are for one task."""
    federation = federation_at("shares")
    journal = federation.agents[AGENT].to_bytes()
    with pytest.raises(MaskingError, match="the journal is of task 7 of digits"):
        federation.agent("agent.a001", journal)
    other = Federation(3, task=MaskedTask(job="digits", round=3, task=8))
    with pytest.raises(MaskingError, match="the journal is of task 7 of digits"):
        other.agent(AGENT, journal)
    with pytest.raises(MaskingError, match="5 bytes that are no secrets"):
        AgentSecrets.from_bytes(b"short")


@pytest.mark.parametrize("step", STEPS[1:])
def test_a_step_out_of_order_is_refused(step: StepName) -> None:
    """The steps before it are what makes it safe."""
    _, content = federation_at(step).collector.requests()[AGENT]
    fresh = Federation(5).agents[AGENT]
    with pytest.raises(MaskingError, match=f"the step {step} after 0 of 5 steps"):
        fresh.answer(step, content)


@pytest.mark.parametrize("step", STEPS)
def test_bytes_that_are_no_request_are_refused(step: StepName) -> None:
    """They came from another node."""
    agent = Federation(3).agents[AGENT]
    for call in (agent.answer, agent.identities_needed):
        with pytest.raises(MaskingError, match=f"the step {step} cannot be read"):
            call(step, b"\xc1")


@pytest.mark.parametrize(
    ("cohort", "reason"),
    [
        (("agent.a001", "agent.a002", "agent.a003"), "the cohort lacks this agent"),
        (("agent.a000", "agent.a001"), "the cohort has 2 agents, and needs 3"),
        ((), "the cohort lacks this agent"),
        (("agent.a000", "agent.a000", "agent.a001"), r"the cohort names agent\.a000 twice"),
        (("agent.a001", "agent.a000", "agent.a002"), "the cohort is not sorted"),
    ],
)
def test_a_cohort_that_hides_no_update_is_refused(cohort: tuple[str, ...], reason: str) -> None:
    """Of two agents, each could compute the other's update."""
    agent = Federation(5).agents[AGENT]
    with pytest.raises(MaskingError, match=reason):
        agent.answer("keys", codec.pack(KeysRequest(cohort=cohort)))


def with_keys(request: SharesRequest, **changes: Any) -> SharesRequest:  # noqa: ANN401
    """Return a request whose first keys are changed."""
    first, *rest = request.keys
    return replace(request, keys=(replace(first, **changes), *rest))


def test_the_identities_that_an_answer_needs_are_those_of_neighbours() -> None:
    """The agent follows them on the bus before it answers."""
    federation = federation_at("shares", 9, terms=terms(4))
    step, content = federation.collector.requests()[AGENT]
    needed = federation.agents[AGENT].identities_needed(step, content)
    assert len(needed) == 4
    assert AGENT not in needed
    keys = federation_at("mask").collector.requests()[AGENT]
    assert federation.agents[AGENT].identities_needed(*keys) == frozenset()


@pytest.mark.parametrize(
    ("agents", "reason"),
    [
        (names(9), "names agent.a006, which was not in the step before"),
        (names(6)[1:], "the set of agents with keys lacks this agent"),
        (names(4), "the set of agents with keys has 4 agents, and needs 5"),
        (names(6)[::-1], "is not sorted"),
    ],
)
def test_agents_with_keys_are_a_large_part_of_the_cohort(
    agents: tuple[str, ...], reason: str
) -> None:
    """With 6 agents and a threshold of 0.67, five."""
    federation = federation_at("shares", 6)
    assert reason in refusal(federation, replace(asked(federation), agents=agents))


def test_keys_are_those_of_the_neighbours() -> None:
    """The agent computes itself which they are."""
    federation = federation_at("shares", 9, terms=terms(4))
    request = asked(federation)
    far = next(
        name
        for name in federation.names
        if name != AGENT and name not in {each.agent for each in request.keys}
    )
    assert "not those of this agent's neighbours" in refusal(
        federation, with_keys(request, agent=far)
    )
    for keys in (request.keys[1:], (*request.keys, request.keys[0]), request.keys[::-1]):
        federation = federation_at("shares", 9, terms=terms(4))
        assert "not those of this agent's" in refusal(federation, replace(request, keys=keys))


@pytest.mark.parametrize("field", ["mask_key", "share_key", "signature"])
def test_keys_that_a_neighbour_has_not_signed_are_refused(field: str) -> None:
    """A collector could read masks and shares that were made with its own keys."""
    federation = federation_at("shares")
    request = asked(federation)
    wrong = with_keys(request, **{field: getattr(request.keys[1], field)})
    assert refusal(federation, wrong) == (
        "the keys of agent.a001 are not signed with its identity key"
    )


def test_keys_of_another_task_are_refused() -> None:
    """Their private parts may have been revealed."""
    other = federation_at("shares", task=MaskedTask(job="digits", round=3, task=6))
    federation = federation_at("shares")
    first: AgentKeys = asked(other).keys[0]
    wrong = with_keys(asked(federation), mask_key=first.mask_key, signature=first.signature)
    assert "the keys of agent.a001 are not signed" in refusal(federation, wrong)


def test_a_neighbour_without_an_identity_is_refused_by_name() -> None:
    """As the source of identities says it."""
    federation = federation_at("shares")

    def identity_of(agent: str) -> str:
        raise MaskingError(f"the identity of {agent} is not known")

    agent = AgentSteps(
        agent=AGENT,
        task=TASK,
        terms=federation.terms,
        identity=federation.identities[AGENT],
        identity_of=identity_of,
        random_bytes=bytes,
        journal=federation.agents[AGENT].to_bytes(),
    )
    with pytest.raises(MaskingError, match=r"the identity of agent\.a001 is not known"):
        agent.answer(*federation.collector.requests()[AGENT])


def test_a_key_with_which_masks_would_be_known_is_refused_by_name() -> None:
    """Signed by a dishonest neighbour."""
    federation = federation_at("shares")
    from fedbus.secure_aggregation.signed_sets import keys_to_sign

    request = asked(federation)
    message = keys_to_sign(TASK, "agent.a001", request.keys[0].mask_key, bytes(32))
    wrong = with_keys(
        request,
        share_key=bytes(32),
        signature=federation.identities["agent.a001"].sign(message),
    )
    assert "agent.a001 has a public key with which no secret" in refusal(federation, wrong)


@pytest.mark.parametrize(
    ("agents", "reason"),
    [
        ((*names(6), "agent.x"), "names agent.x, which was not in the step before"),
        (names(6)[1:], "the set of agents that mask lacks this agent"),
        (names(4), "the set of agents that mask in this neighbourhood has 4 agents, and needs 5"),
    ],
)
def test_agents_that_mask_have_keys(agents: tuple[str, ...], reason: str) -> None:
    """And are as many as the threshold asks for."""
    federation = federation_at("mask", 6)
    assert reason in refusal(federation, replace(asked(federation), agents=agents))


def test_shares_are_those_of_the_neighbours_that_mask() -> None:
    """One of each."""
    federation = federation_at("mask", 6)
    request: MaskRequest = asked(federation)
    wrong = replace(request, shares=request.shares[1:])
    assert "the shares are not those of this agent's neighbours" in refusal(federation, wrong)


def spoiled(shares: tuple[ShareTo, ...], count: int) -> tuple[ShareTo, ...]:
    """Return shares of which the first `count` do not decrypt."""
    wrong = tuple(replace(each, sealed=each.sealed[::-1]) for each in shares[:count])
    return (*wrong, *shares[count:])


def test_few_shares_that_do_not_decrypt_are_left_out() -> None:
    """A dishonest neighbour cannot make an agent leave the round."""
    federation = federation_at("mask", 6)
    request: MaskRequest = asked(federation)
    wrong = replace(request, shares=spoiled(request.shares, 1))
    agent = federation.agents[AGENT]
    assert agent.answer("mask", codec.pack(wrong))
    assert record_from_bytes(agent.to_bytes()).held.keys() == set(federation.names) - {"agent.a001"}


def test_many_shares_that_do_not_decrypt_are_refused() -> None:
    """The other agents were shown other sets, or are not there."""
    federation = federation_at("mask", 6)
    request: MaskRequest = asked(federation)
    wrong = replace(request, shares=spoiled(request.shares, 2))
    assert "2 of 5 shares do not decrypt" in refusal(federation, wrong)


@pytest.mark.parametrize(
    ("survivors", "reason"),
    [
        ((*names(6), "agent.x"), "names agent.x, which was not in the step before"),
        (names(6)[1:], "the set of survivors lacks this agent"),
        (names(4), "fewer than 5 agents in the neighbourhood of agent.a000"),
        (("agent.a000", "agent.a000", *names(6)[1:]), "names agent.a000 twice"),
    ],
)
def test_survivors_have_masked_and_are_many(survivors: tuple[str, ...], reason: str) -> None:
    """A sum of few agents hides too little."""
    federation = federation_at("survivors", 6)
    assert reason in refusal(federation, SurvivorsRequest(survivors=survivors, updates=UPDATE))


def test_survivors_whose_shares_did_not_decrypt_do_not_count() -> None:
    """They may be agents of an earlier run, whose keys the collector knows."""
    federation = federation_at("mask", 6)
    request: MaskRequest = asked(federation)
    wrong = replace(request, shares=spoiled(request.shares, 1))
    agent = federation.agents[AGENT]
    agent.answer("mask", codec.pack(wrong))
    federation.offer(AGENT)
    few = SurvivorsRequest(survivors=names(5), updates=UPDATE)
    with pytest.raises(MaskingError, match="fewer than 5 agents whose shares this agent has dec"):
        agent.answer("survivors", codec.pack(few))
    assert agent.answer("survivors", codec.pack(replace(few, survivors=names(6))))


def test_an_agent_that_masked_nothing_signs_nothing() -> None:
    """It would vouch for an update that is not its own."""
    federation = federation_at("mask", 6)
    agent = federation.agents[AGENT]
    agent.answer(*federation.collector.requests()[AGENT])
    request = SurvivorsRequest(survivors=federation.names, updates=UPDATE)
    with pytest.raises(MaskingError, match="this agent has masked no update"):
        agent.answer("survivors", codec.pack(request))


@pytest.mark.parametrize("changes", [{"survivors": names(5)}, {"updates": "1" * 64}])
def test_only_what_was_signed_is_unmasked(changes: dict[str, Any]) -> None:
    """Whatever signatures come with it."""
    federation = federation_at("unmask", 6)
    wrong = replace(asked(federation), **changes)
    assert "not the survivors and updates that this agent signed" in refusal(federation, wrong)


def test_signatures_of_strangers_repeated_or_wrong_ones_do_not_count() -> None:
    """Nothing is revealed with fewer than the threshold, the agent's own included."""
    federation = federation_at("unmask", 6)
    request: UnmaskRequest = asked(federation)
    own = federation.collector
    assert own.survivors == federation.names
    first, second, third, *_ = request.signatures
    stranger = SignedBy(agent="agent.x", signature=first.signature)
    for signatures in (
        (),
        (first, second, third),
        (first, second, third, third, third),
        (first, second, third, replace(first, agent="agent.a004")),
        (first, second, third, replace(first, agent=AGENT), stranger),
    ):
        federation = federation_at("unmask", 6)
        reason = refusal(federation, replace(request, signatures=signatures))
        assert "agents of this neighbourhood signed the survivors; 5 must" in reason
    agent = federation_at("unmask", 6).agents[AGENT]
    assert agent.answer("unmask", codec.pack(replace(request, signatures=request.signatures[:4])))
