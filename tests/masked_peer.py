"""Agent of a masked round without a service: its steps, and the update that it masks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.model.fixed_point import Wholes, to_fixed_point
from fedbus.model.layout import Layout
from fedbus.secure_aggregation.agent_steps import AgentSteps
from fedbus.secure_aggregation.identity_key import IdentityKey
from fedbus.secure_aggregation.masked_blob import masked_header
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.wire.encryption import FixedPoint
from fedbus.wire.messages import Step, StepReply
from fedbus.wire.secure_aggregation import SecureAggregationTerms

MAX_EXAMPLES = 20
TERMS = SecureAggregationTerms(
    fixed_point=FixedPoint(bits=16, max_agents=8, max_examples=MAX_EXAMPLES),
    neighbours=7,
    threshold=0.67,
    step_seconds=5.0,
)


def identity_of(agent: str) -> IdentityKey:
    """Return the identity key of an agent: another one for each name."""
    return IdentityKey(Random(f"identity of {agent}").randbytes(32))


def public_identity(agent: str) -> str:
    """Return what an agent announces."""
    return identity_of(agent).public


class MaskedPeer:
    """One agent in one task."""

    def __init__(self, agent: str, job: str, *, terms: SecureAggregationTerms = TERMS) -> None:
        self.agent = agent
        self._task = MaskedTask(job=job, round=1, task=1)
        self._terms = terms
        self.steps = AgentSteps(
            agent=agent,
            task=self._task,
            terms=terms,
            identity=identity_of(agent),
            identity_of=public_identity,
            random_bytes=Random(f"masks of {agent}").randbytes,
        )

    def reply(self, step: Step) -> StepReply:
        """Answer a step."""
        empty = StepReply(job=step.job, round=step.round, task=step.task, step=step.step)
        return replace(empty, content=self.steps.answer(step.step, step.content))

    def masked(
        self,
        update: Mapping[str, NDArray[Any]],
        layout: Layout,
        ranges: Sequence[int],
        examples: int,
    ) -> tuple[bytes, Wholes]:
        """Return the blob of a masked update, and the whole numbers in it."""
        bits = self._terms.fixed_point.bits
        rng = np.random.default_rng(examples)
        weight = examples / MAX_EXAMPLES
        numbers = to_fixed_point(update, layout, ranges, bits, weight, rng)
        header = masked_header(
            layout=layout,
            task=self._task,
            fixed_point=self._terms.fixed_point,
            ranges=ranges,
            max_examples=MAX_EXAMPLES,
            weight=examples,
        )
        return bytes(self.steps.mask_update(numbers, header)), numbers
