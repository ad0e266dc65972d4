"""Dishonest collectors, alone and with colluding agents, that try to open one agent's update."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.agent_record import AgentRecord, record_from_bytes
from fedbus.secure_aggregation.agent_secrets import own_mask, pairwise_masks
from fedbus.secure_aggregation.mask_streams import Mask
from fedbus.secure_aggregation.masked_blob import unmask_block
from fedbus.secure_aggregation.neighbours import colluders_tolerated, least_of
from fedbus.secure_aggregation.shamir import join
from fedbus.secure_aggregation.signed_sets import survivors_to_sign
from fedbus.wire import codec
from fedbus.wire.secure_aggregation import STEPS, SignedBy, StepName
from fedbus.wire.step_contents import (
    REPLIES,
    KeysRequest,
    MaskRequest,
    SharesRequest,
    SharesRevealed,
    SurvivorsRequest,
    SurvivorsSigned,
    UnmaskRequest,
)
from tests.fedbus.secure_aggregation.masked_agents import (
    ANY_TERMS,
    TASK,
    UPDATE,
    Federation,
    drawn_bytes,
    names,
    terms,
)
from tests.fedbus.secure_aggregation.test_agent_steps import asked, federation_at

TARGET = "agent.a000"


@dataclass
class Loot:
    """Everything that a dishonest collector has got: shares by owner and holder."""

    federation: Federation
    seeds: dict[str, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    mask_keys: dict[str, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))

    @property
    def graph(self) -> Any:  # noqa: ANN401 - a NeighbourGraph
        """The neighbours."""
        return self.federation.collector._progress.graph  # noqa: SLF001 - an attacker reads all

    def record(self, agent: str) -> AgentRecord:
        """Return what a colluding agent has, or what a test knows of an honest one."""
        return record_from_bytes(self.federation.agents[agent].to_bytes())

    def reveal(self, agent: str, request: UnmaskRequest) -> str:
        """Ask an agent to reveal shares; return why it refuses."""
        try:
            reply = self.federation.agents[agent].answer("unmask", codec.pack(request))
        except MaskingError as error:
            return str(error)
        sent: SharesRevealed = codec.unpack(REPLIES["unmask"], reply)
        for each in sent.survived:
            self.seeds[each.agent][agent] = each.share
        for each in sent.dropped:
            self.mask_keys[each.agent][agent] = each.share
        return ""

    def collude(self, agents: Iterable[str]) -> None:
        """Take all shares that colluding agents hold."""
        for agent in agents:
            for owner, shares in self.record(agent).held.items():
                self.seeds[owner][agent] = shares.seed
                self.mask_keys[owner][agent] = shares.mask_key

    def joined(self, owner: str, shares: Mapping[str, bytes]) -> bytes | None:
        """Return a secret, if there are enough shares."""
        holders = self.graph.neighbourhood(owner)
        numbered = {holders.index(holder) + 1: share for holder, share in shares.items()}
        try:
            return join(numbered, self.graph.least, lambda _: True)[0]
        except MaskingError:
            return None

    def opens(self, target: str, masked: tuple[str, ...]) -> bool:
        """Return whether the update of an agent can be read after all known masks are removed."""
        task, public = self.federation.task, self.record(target).mask_keys
        near = [name for name in self.graph.neighbours(target) if name in masked]
        known: dict[str, Mask] = {}
        if seed := self.joined(target, self.seeds[target]):
            known[target] = own_mask(task, target, masked, seed)
        if key := self.joined(target, self.mask_keys[target]):
            masks = pairwise_masks(task, target, key, {n: public[n] for n in near}, masked)
            known |= dict(zip(near, masks, strict=True))
        own_public = self.record(target).public_mask_key
        for name in near:
            if name not in known and (key := self.joined(name, self.mask_keys[name])):
                [mask] = pairwise_masks(task, name, key, {target: own_public}, masked)
                known[name] = Mask(mask.seed, -mask.sign)
        numbers = self.federation.opened(target)
        removed = [Mask(mask.seed, -mask.sign) for mask in known.values()]
        unmask_block(numbers, removed, 0, self.federation.header.modulus_bits)
        return bool(np.array_equal(numbers, self.federation.updates[target]))


def sign(loot: Loot, agent: str, survivors: tuple[str, ...]) -> SignedBy:
    """Return the signature of a colluding agent over any set."""
    record = loot.record(agent)
    message = survivors_to_sign(
        loot.federation.task,
        agent,
        record.public_mask_key,
        loot.graph.digest,
        record.masked,
        survivors,
        UPDATE,
    )
    return SignedBy(agent=agent, signature=loot.federation.identities[agent].sign(message))


def show_sets(loot: Loot, shown: Mapping[str, tuple[str, ...]], colluders: Collection[str]) -> None:
    """Show each honest agent a set of survivors, and ask it to unmask with all signatures of it."""
    signatures: dict[tuple[str, ...], list[SignedBy]] = defaultdict(list)
    for agent, survivors in shown.items():
        request = SurvivorsRequest(survivors=survivors, updates=UPDATE)
        try:
            reply = loot.federation.agents[agent].answer("survivors", codec.pack(request))
        except MaskingError:
            continue
        signed: SurvivorsSigned = codec.unpack(REPLIES["survivors"], reply)
        signatures[survivors].append(SignedBy(agent=agent, signature=signed.signature))
    for survivors in set(shown.values()):
        signatures[survivors] += [sign(loot, agent, survivors) for agent in colluders]
    for agent, survivors in shown.items():
        near = set(loot.graph.neighbours(agent))
        loot.reveal(
            agent,
            UnmaskRequest(
                survivors=survivors,
                updates=UPDATE,
                signatures=tuple(s for s in signatures[survivors] if s.agent in near),
            ),
        )
    loot.collude(colluders)


@pytest.mark.parametrize(("colluding", "opened"), [(0, False), (3, False), (4, True)])
def test_two_sets_open_no_update_unless_more_agents_collude_than_tolerated(
    colluding: int, opened: bool
) -> None:
    """10 agents and a threshold of 7: three may collude. With four the attack works.

    Half of the honest agents are told that the target is a survivor, half that it dropped out.
    """
    federation = federation_at("survivors", 10)
    loot = Loot(federation)
    assert colluders_tolerated(loot.graph.least, 10, complete=True) == 3
    colluders = federation.names[10 - colluding :]
    honest = federation.names[: 10 - colluding]
    without = federation.names[1:]
    half = (len(honest) + 1) // 2
    shown = {
        agent: federation.names if number < half else without for number, agent in enumerate(honest)
    }
    show_sets(loot, shown, colluders)
    assert loot.opens(TARGET, federation.names) == opened


@pytest.mark.parametrize("other", ["collector.c1", "user.eve", "controller.c1"])
def test_only_agents_are_counted_as_agents(other: str) -> None:
    """A collector has an identity of its own, and may know users: it would act as all others."""
    federation = Federation(3)
    cohort = tuple(sorted((*federation.names[:2], other)))
    with pytest.raises(MaskingError, match=f"the cohort names {other}, which is no agent"):
        federation.agents[TARGET].answer("keys", codec.pack(KeysRequest(cohort=cohort)))


def test_a_sum_of_two_updates_is_not_signed() -> None:
    """Each of the two agents would compute the other's update, even if the threshold allows it."""
    federation = federation_at("survivors", 3, terms=terms(threshold=0.6))
    assert federation.collector.requests()
    two = federation.names[:2]
    for agent in two:
        with pytest.raises(MaskingError, match="survivors has 2 agents, and needs 3"):
            federation.agents[agent].answer(
                "survivors", codec.pack(SurvivorsRequest(survivors=two, updates=UPDATE))
            )


@pytest.mark.parametrize(
    ("count", "fewest"), [(3, 3), (5, 3), (10, 5), (41, 19), (42, 20), (60, 28)]
)
def test_a_collector_that_hides_agents_gets_smaller_sums(count: int, fewest: int) -> None:
    """It says that agents made no keys, which makes the round and its threshold smaller."""
    federation = Federation(count, numbers=4, terms=terms(neighbours=40))
    kept = max(least_of(0.67, count), 3)
    without_keys = federation.names[kept:]
    federation.run({"keys": without_keys, "mask": federation.names[fewest:kept]})
    assert federation.collector.done
    assert federation.collector.survivors == federation.names[:fewest]
    assert np.array_equal(federation.unmasked(), federation.plain(federation.names[:fewest]))
    smaller = Federation(count, numbers=4, terms=terms(neighbours=40))
    smaller.run({"keys": without_keys, "mask": federation.names[fewest - 1 : kept]})
    assert smaller.collector.failed


def test_the_difference_of_two_sums_is_one_update() -> None:
    """A collector reports that a round failed, and leaves one agent out when it is planned again.

    The masks promise nothing against this: here the others train the same update again.
    """
    first, again = Federation(5), Federation(5, task=replace(TASK, task=TASK.task + 1))
    assert first.updates.keys() == again.updates.keys()
    first.run()
    again.run({"keys": [TARGET]})
    modulus = 2**first.header.modulus_bits
    difference = (first.unmasked() - again.unmasked()) % modulus
    assert np.array_equal(difference, first.updates[TARGET])


def test_a_second_set_is_not_signed_and_not_unmasked() -> None:
    """After the sum of all, a collector asks for the sum without one agent."""
    federation = federation_at("survivors", 6)
    loot = Loot(federation)
    show_sets(loot, dict.fromkeys(federation.names, federation.names), ())
    assert all(len(shares) == 6 for shares in loot.seeds.values())
    less = federation.names[1:]
    for agent in less:
        with pytest.raises(MaskingError, match="for another request"):
            federation.agents[agent].answer(
                "survivors", codec.pack(SurvivorsRequest(survivors=less, updates=UPDATE))
            )
        signatures = tuple(sign(loot, name, less) for name in less)
        request = UnmaskRequest(survivors=less, updates=UPDATE, signatures=signatures)
        assert "for another request" in loot.reveal(agent, request)
    assert not loot.mask_keys
    assert not loot.opens(TARGET, federation.names)


@pytest.mark.parametrize("neighbours", [4, 20])
def test_no_agent_reveals_both_shares_of_another(neighbours: int) -> None:
    """Each of one kind, for the same set, and its own only as a survivor."""
    federation = federation_at("unmask", 9, terms=terms(neighbours))
    for name, (step, content) in federation.collector.requests().items():
        sent = codec.unpack(REPLIES[step], federation.agents[name].answer(step, content))
        survived = {each.agent for each in sent.survived}
        dropped = {each.agent for each in sent.dropped}
        assert not survived & dropped
        assert name in survived


def test_sets_with_few_survivors_around_an_agent_are_not_signed_on_a_circle() -> None:
    """Its update would be the only one, or one of few, that its masks are joined with."""
    federation = federation_at("survivors", 20, terms=terms(6), accepted=ANY_TERMS)
    loot = Loot(federation)
    circle = loot.graph._circle  # noqa: SLF001
    target = circle[10]
    around = set(loot.graph.neighbours(target))
    survivors = tuple(name for name in federation.names if name not in around)
    show_sets(loot, dict.fromkeys(survivors, survivors), ())
    assert not loot.seeds
    assert not loot.mask_keys


def test_other_sets_far_away_on_a_circle_open_no_update() -> None:
    """Each agent of an arc is told that the neighbours of the target dropped out."""
    federation = federation_at("survivors", 40, terms=terms(6, 0.75))
    loot = Loot(federation)
    circle = loot.graph._circle  # noqa: SLF001
    assert colluders_tolerated(loot.graph.least, 7, complete=False) == 1
    for place, width in ((3, 2), (20, 1), (30, 3)):
        target = circle[place]
        gone = {circle[(place + step) % 40] for step in range(1, width + 1)}
        less = tuple(name for name in federation.names if name not in gone)
        near = set(loot.graph.neighbours(target))
        shown = {name: federation.names if name in near else less for name in circle}
        attempt = Loot(federation_at("survivors", 40, terms=terms(6, 0.75)))
        show_sets(attempt, shown, ())
        assert not attempt.opens(target, federation.names)


def test_agents_that_mask_for_other_sets_have_no_mask_in_common() -> None:
    """A collector tells the target that few agents mask, and all others that all do."""
    federation = federation_at("mask", 10)
    loot = Loot(federation)
    few = federation.names[:7]
    for name in federation.names:
        request: MaskRequest = asked(federation, name)
        if name == TARGET:
            kept = tuple(share for share in request.shares if share.agent in few)
            request = replace(request, agents=few, shares=kept)
        federation.agents[name].answer("mask", codec.pack(request))
        federation.offer(name)
    show_sets(loot, dict.fromkeys(federation.names, federation.names), ())
    assert len(loot.seeds[TARGET]) == 9
    for masked in (few, federation.names):
        assert not loot.opens(TARGET, masked)
    total = federation.added(federation.names)
    seeds = {name: loot.joined(name, loot.seeds[name]) for name in federation.names}
    sets = dict.fromkeys(federation.names, federation.names) | {TARGET: few}
    own = [
        own_mask(federation.task, name, sets[name], seed) for name, seed in seeds.items() if seed
    ]
    removed = [Mask(mask.seed, -1) for mask in own]
    unmask_block(total, removed, 0, federation.header.modulus_bits)
    assert not np.array_equal(total, federation.plain(federation.names))


def test_agents_that_were_shown_other_sets_of_keys_do_not_mask() -> None:
    """A collector could choose the neighbours of each agent apart."""
    federation = federation_at("shares", 10)
    sealed = {}
    for number, name in enumerate(federation.names):
        request: SharesRequest = asked(federation, name)
        if number % 2:
            agents = federation.names[:9]
            kept = tuple(keys for keys in request.keys if keys.agent in agents)
            request = replace(request, agents=agents, keys=kept)
        if name in request.agents:
            reply = federation.agents[name].answer("shares", codec.pack(request))
            sealed[name] = codec.unpack(REPLIES["shares"], reply)
    masking = federation.names[:9]
    for name in masking:
        shares = tuple(
            replace(each, agent=sender)
            for sender in masking
            if sender != name
            for each in sealed[sender].shares
            if each.agent == name
        )
        with pytest.raises(MaskingError, match="shares do not decrypt"):
            federation.agents[name].answer(
                "mask", codec.pack(MaskRequest(agents=masking, shares=shares))
            )


def test_shares_that_were_swapped_do_not_decrypt() -> None:
    """A share is for one receiver of one sender: none counts as another one."""
    federation = federation_at("mask", 9)
    request: MaskRequest = asked(federation)
    first, second, *rest = request.shares
    swapped = (replace(first, sealed=second.sealed), replace(second, sealed=first.sealed), *rest)
    federation.agents[TARGET].answer("mask", codec.pack(replace(request, shares=swapped)))
    held = record_from_bytes(federation.agents[TARGET].to_bytes()).held
    assert held.keys() == set(federation.names) - {first.agent, second.agent}


@pytest.mark.parametrize("replayed", [1, 2])
def test_keys_of_an_earlier_run_stand_in_for_no_agent(replayed: int) -> None:
    """Their mask keys were revealed then. An agent masks with them, and counts them nowhere."""
    earlier = federation_at("shares", 5)
    old = {name: asked(earlier, "agent.a004").keys[int(name[-3:])] for name in names(4)}
    federation = Federation(5)
    for name in federation.names:
        federation.agents[name]._answers._random_bytes = drawn_bytes(("again", name))  # noqa: SLF001
    federation.run_step()
    request: SharesRequest = asked(federation)
    gone = federation.names[1 : 1 + replayed]
    keys = tuple(old[each.agent] if each.agent in gone else each for each in request.keys)
    assert keys != request.keys
    agent = federation.agents[TARGET]
    agent.answer("shares", codec.pack(replace(request, keys=keys)))
    for name in federation.names[1:]:
        step, content = federation.collector.requests()[name]
        reply = federation.agents[name].answer(step, content)
        assert federation.collector.reply(name, step, reply) == ""
    shares = tuple(
        replace(each, agent=sender, sealed=bytes(90) if sender in gone else each.sealed)
        for sender in federation.names[1:]
        for each in federation.collector._progress.answers["shares"][sender].shares  # noqa: SLF001
        if each.agent == TARGET
    )
    content = codec.pack(MaskRequest(agents=federation.names, shares=shares))
    if replayed == 2:
        with pytest.raises(MaskingError, match="2 of 4 shares do not decrypt"):
            agent.answer("mask", content)
        return
    agent.answer("mask", content)
    federation.offer(TARGET)
    less = tuple(name for name in federation.names if name != "agent.a004")
    with pytest.raises(MaskingError, match="fewer than 4 agents whose shares"):
        agent.answer("survivors", codec.pack(SurvivorsRequest(survivors=less, updates=UPDATE)))


def test_a_signature_of_an_earlier_run_does_not_count() -> None:
    """An agent signs one set in each run; the collector would have two."""
    earlier = federation_at("unmask", 5)
    federation = Federation(5)
    for name in federation.names:
        federation.agents[name]._answers._random_bytes = drawn_bytes(("again", name))  # noqa: SLF001
    while federation.collector.step != "unmask":
        federation.run_step()
    request: UnmaskRequest = asked(federation)
    old: UnmaskRequest = asked(earlier)
    assert (old.survivors, old.updates) == (request.survivors, request.updates)
    with pytest.raises(MaskingError, match="1 agents of this neighbourhood signed"):
        federation.agents[TARGET].answer("unmask", codec.pack(old))


@pytest.mark.parametrize("step", STEPS)
def test_messages_before_the_last_step_have_no_secret(step: StepName) -> None:
    """A node that reads all messages sees public keys and encrypted shares."""
    federation = Federation(6)
    secrets, sent = [], b""
    while federation.collector.step != step:
        for name, (asked_step, content) in federation.collector.requests().items():
            sent += content + federation.agents[name].answer(asked_step, content)
            record = record_from_bytes(federation.agents[name].to_bytes())
            if record.secrets:
                opened = record.opened_secrets
                secrets += [opened.mask_key, opened.share_key, opened.seed]
            secrets += [held.seed for held in record.held.values()]
            secrets += [held.mask_key for held in record.held.values()]
        federation.run_step()
    assert not any(secret in sent for secret in secrets)
