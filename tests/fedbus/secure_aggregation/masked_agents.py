"""Agents and a collector of a masked round in one process, for tests that act as either."""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedbus.model.layout import Layout, Tensor
from fedbus.secure_aggregation.accepted_terms import SAFE_TERMS, AcceptedTerms
from fedbus.secure_aggregation.agent_steps import AgentSteps
from fedbus.secure_aggregation.bit_packing import unpack_blocks
from fedbus.secure_aggregation.identity_key import IdentityKey
from fedbus.secure_aggregation.mask_streams import Words, word_type
from fedbus.secure_aggregation.masked_blob import (
    MaskedHeader,
    check_masked_blob,
    masked_header,
    unmask_block,
)
from fedbus.secure_aggregation.masked_round import MaskedRound
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.wire.encryption import FixedPoint
from fedbus.wire.secure_aggregation import SecureAggregationTerms, StepName

TASK = MaskedTask(job="digits", round=3, task=7)
BITS = 12
UPDATE = "0" * 64


def terms(neighbours: int = 20, threshold: float = 0.67) -> SecureAggregationTerms:
    """Return the terms of a job."""
    fixed_point = FixedPoint(bits=BITS, max_agents=200, max_examples=1)
    return SecureAggregationTerms(
        fixed_point=fixed_point, neighbours=neighbours, threshold=threshold, step_seconds=10
    )


ANY_TERMS = AcceptedTerms(colluders=-1)
"""An agent that takes part whatever a dishonest collector could do."""


def names(count: int) -> tuple[str, ...]:
    """Return the names of agents, sorted."""
    return tuple(f"agent.a{number:03}" for number in range(count))


def drawn_bytes(seed: object) -> Callable[[int], bytes]:
    """Return a source of bytes that repeats."""
    return random.Random(repr(seed)).randbytes


@dataclass
class Federation:
    """Agents with their updates, and what the collector got of them."""

    count: int
    numbers: int = 40
    terms: SecureAggregationTerms = field(default_factory=terms)
    task: MaskedTask = TASK
    seed: int = 0
    accepted: AcceptedTerms = SAFE_TERMS

    def __post_init__(self) -> None:
        self.names = names(self.count)
        self.identities = {
            name: IdentityKey(drawn_bytes((self.seed, "identity", name))(32)) for name in self.names
        }
        self.public = {name: key.public for name, key in self.identities.items()}
        self.agents = {name: self.agent(name) for name in self.names}
        rng = np.random.default_rng(self.seed)
        self.updates = {
            name: rng.integers(0, 2**BITS - 1, self.numbers, np.uint64) for name in self.names
        }
        self.blobs: dict[str, bytearray] = {}
        self.collector = MaskedRound(self.terms, self.task, self.names, self.public)

    def agent(self, name: str, journal: bytes | None = None) -> AgentSteps:
        """Return an agent at its first step, or where its journal says."""
        return AgentSteps(
            agent=name,
            task=self.task,
            terms=self.terms,
            identity=self.identities[name],
            identity_of=self.public.__getitem__,
            random_bytes=drawn_bytes((self.seed, name)),
            journal=journal,
            accepted=self.accepted,
        )

    @property
    def header(self) -> MaskedHeader:
        """The header of all updates."""
        return masked_header(
            layout=Layout((Tensor("w", (self.numbers,), "float32", "weight"),)),
            task=self.task,
            fixed_point=self.terms.fixed_point,
            ranges=(0,),
            max_examples=1,
            weight=1,
        )

    def run_step(self, absent: Collection[str] = (), offers: Collection[str] | None = None) -> None:
        """Run one step in which some agents do not answer; `offers` alone offer their updates."""
        step = self.collector.step
        for name, (asked, content) in self.collector.requests().items():
            if name not in absent:
                reply = self.agents[name].answer(asked, content)
                assert self.collector.reply(name, asked, reply) == ""
        if step == "mask":
            for name in self.names if offers is None else offers:
                if name not in absent and self.agents[name].can_mask:
                    self.offer(name)
        self.collector.advance()

    def offer(self, name: str) -> str:
        """Mask an agent's update, and give it to the collector."""
        self.blobs[name] = self.agents[name].mask_update(self.updates[name], self.header)
        return self.collector.update_taken(name, UPDATE)

    def run(self, absent: Mapping[StepName, Collection[str]] | None = None) -> None:
        """Run all steps; agents that are absent in one are absent from then on."""
        gone: set[str] = set()
        while not self.collector.done and not self.collector.failed:
            gone.update((absent or {}).get(self.collector.step, ()))
            self.run_step(gone)

    def unmasked(self) -> Words:
        """Return the sum as the collector computes it."""
        total = self.added(self.collector.survivors)
        unmask_block(total, self.collector.masks(), 0, self.header.modulus_bits)
        return total

    def added(self, agents: Sequence[str]) -> Words:
        """Return the sum of masked updates."""
        total = np.zeros(self.numbers, word_type(self.header.modulus_bits))
        for name in agents:
            total += self.opened(name)
        return total

    def opened(self, name: str) -> Words:
        """Return the numbers of a masked update."""
        blob = self.blobs[name]
        offset = check_masked_blob(blob, len(blob), self.header, self.numbers)
        view = memoryview(blob)
        bits = self.header.modulus_bits
        blocks = unpack_blocks(lambda at, size: view[at : at + size], offset, self.numbers, bits)
        return np.concatenate(list(blocks))

    def plain(self, agents: Sequence[str]) -> Words:
        """Return the sum of updates without masks."""
        kind = word_type(self.header.modulus_bits)
        total: Words = np.sum([self.updates[name] for name in agents], axis=0).astype(kind)
        return total
