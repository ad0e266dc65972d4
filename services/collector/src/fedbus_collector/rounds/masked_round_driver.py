"""Steps of a masked round at its collector: asked, answered, waited for. Pure.

`fedbus.secure_aggregation` decides what is asked of whom and who may go on; this module asks with
the node's repetitions, and ends the wait for agents that do not answer. The steps before the
updates (`keys`, `shares`, `mask`) run while the agents train. Those after them are closing stages.
"""

from collections.abc import Iterator
from typing import Final

from fedbus.core.actions import Action, Ask, Cancel, Note, WakeAt
from fedbus.errors import MaskingError
from fedbus.secure_aggregation.mask_streams import Mask
from fedbus.secure_aggregation.masked_round import MaskedRound
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.wire.messages import Step, StepReply
from fedbus.wire.secure_aggregation import SecureAggregationTerms, StepName
from fedbus_collector import keys
from fedbus_collector.rounds.agent_identities import AgentIdentities
from fedbus_collector.rounds.progress import RoundPhase, RoundProgress

_BEFORE_UPDATES: Final = ("keys", "shares")
"""Steps that end as soon as all have answered; the step `mask` ends when the round closes."""


class MaskedRoundDriver:
    """Asks the steps of one round, and tells the masked round what became of them.

    Attributes:
        agreed: Agents whose offers may be taken: they mask for the set that this collector named.
    """

    def __init__(
        self,
        progress: RoundProgress,
        terms: SecureAggregationTerms,
        identities: AgentIdentities,
    ) -> None:
        plan = progress.plan
        self.agreed: set[str] = set()
        self._progress = progress
        self._terms = terms
        task = MaskedTask(job=plan.job, round=plan.round, task=plan.task)
        self._announced = identities
        self._identities: dict[str, str] = {}
        self._unverified: dict[str, StepReply] = {}  # keys of agents without a known identity
        self._round = MaskedRound(terms, task, plan.cohort, self._identities)
        self._asked: dict[str, StepName] = {}
        self._followed: set[str] = set()
        self._left: set[str] = set()
        self._taken: set[str] = set()

    @property
    def waits(self) -> bool:
        """Whether an agent has not answered the step yet."""
        return bool(self._asked)

    def masks(self) -> tuple[Mask, ...]:
        """Return the masks that are left in the sum of the survivors, who have unmasked it.

        Called once, in a worker thread: secrets are joined from their shares.

        Raises:
            MaskingError: The shares are too few, or wrong.
        """
        self._round.advance()
        return self._round.masks()

    def begin(self, now: float) -> Iterator[Action]:
        """Ask the first step of the whole cohort; raise MaskingError if it is too small."""
        for agent in self._progress.plan.cohort:
            if (key := self._announced.of(agent)) is None:
                self._followed.add(agent)
                yield from self._announced.follow(agent)
            else:
                self._identities[agent] = key
        yield from self._ask(now)

    def identity_announced(self, agent: str) -> Iterator[Action]:
        """Take the identity of an agent that is followed."""
        key = self._announced.of(agent)
        if key is not None and agent in self._followed:
            self._identities[agent] = key
            yield from self._unfollow(agent)

    def waiting_keys(self, agent: str) -> StepReply | None:
        """Return the answer of an agent that waited for its identity, once that is known."""
        known = agent in self._identities
        return self._unverified.pop(agent, None) if known else None

    def ask_for_identity(self, agent: str) -> Iterator[Action]:
        """Follow an agent again whose keys wait for its identity; it repeats them until then."""
        if agent in self._unverified:
            yield from self._announced.follow_again(agent)

    def _unfollow(self, agent: str) -> Iterator[Action]:
        if agent in self._followed:
            self._followed.discard(agent)
            yield from self._announced.unfollow(agent)

    def proceed(self, now: float) -> Iterator[Action]:
        """Take over who was refused and whose update counts; go on to the step before the updates.

        Raises:
            MaskingError: Too few agents are left.
        """
        for agent in sorted(self._progress.refused.keys() - self._left):
            yield from self.leave(agent)
        for agent, one in self._progress.counted.items():
            if agent not in self._taken:
                self._taken.add(agent)
                if fault := self._round.update_taken(agent, one.update):
                    raise MaskingError(fault)  # the sum has an update that nothing unmasks
        while self._round.step in _BEFORE_UPDATES and not self.waits:
            yield from self.advance(now)

    def advance(self, now: float) -> Iterator[Action]:
        """Go on to the next step with those who have answered; raises as `proceed`."""
        yield from self.cancel()
        self._round.advance()
        yield from self._ask(now)

    def _ask(self, now: float) -> Iterator[Action]:
        if self._round.failed:
            raise MaskingError(self._round.failed)
        key, step, requests = self._progress.key, self._round.step, self._round.requests()
        job, task = key
        for agent, (_, content) in requests.items():
            self._asked[agent] = step
            message = Step(
                job=job, round=self._progress.plan.round, task=task, step=step, content=content
            )
            yield Ask(keys.StepRequest(*key, agent), agent, message)
        if step != "mask":  # agents train as long as the round's deadline allows
            yield WakeAt(keys.StepDeadline(*key), now + self._terms.step_seconds)
        facts = {"step": step, "agents": len(requests), "at": now}
        yield Note("step_asked", self._progress.log_facts(**facts))

    def not_asked(self) -> list[str]:
        """Return the agents of the cohort that are still in the round, but not in the step `mask`.

        Too few of their neighbours are left.
        """
        if self._round.step != "mask":
            return []
        gone = self._progress.refused.keys() | self.agreed | self._asked.keys()
        return [agent for agent in self._progress.plan.cohort if agent not in gone]

    def replied(self, agent: str, reply: StepReply) -> str | None:
        """Take an agent's answer; return why it leaves the round, or "".

        None: it is no answer to what the agent is asked, a repeated one, or one that waits for the
        agent's identity.
        """
        if self._asked.get(agent) != reply.step or reply.round != self._progress.plan.round:
            return None
        if reply.step == "keys" and not reply.reason and agent not in self._identities:
            self._unverified[agent] = reply
            return None
        refusal = reply.reason or self._round.reply(agent, reply.step, reply.content)
        if not refusal and reply.step == "mask":
            self.agreed.add(agent)
        return refusal

    def settle(self, agent: str) -> Iterator[Action]:
        """Ask an agent no longer."""
        if self._asked.pop(agent, None):
            yield Cancel(keys.StepRequest(*self._progress.key, agent))

    def late(self) -> list[tuple[tuple[str, ...], str]]:
        """Return the agents that have not answered the step, whose time is over, with reasons."""
        unknown = tuple(sorted(self._asked.keys() & self._unverified.keys()))
        silent = tuple(sorted(self._asked.keys() - self._unverified.keys()))
        waited = f"in {self._terms.step_seconds:g} s"
        found = (
            (unknown, f"it has announced no identity key {waited}, so its keys are not signed"),
            (silent, f"no answer to step {self._round.step} {waited}"),
        )
        return [(agents, reason) for agents, reason in found if agents]

    def leave(self, agent: str) -> Iterator[Action]:
        """Wait for an agent no longer; an update of it that counts stays in the sum."""
        if agent not in self._left:
            self._left.add(agent)
            self._round.leave(agent)
            self._unverified.pop(agent, None)
            yield from self._unfollow(agent)
            yield from self.settle(agent)

    def cancel(self) -> Iterator[Action]:
        """Ask nothing more, and wait for nothing."""
        for agent in sorted(self._followed):
            yield from self._unfollow(agent)
        yield Cancel(keys.StepDeadline(*self._progress.key))
        for agent in sorted(self._asked):
            yield from self.settle(agent)


class _StepStage:
    """Closing stage of one step: it is done when nothing more is waited for."""

    def __init__(self, driver: MaskedRoundDriver) -> None:
        self._driver = driver

    @property
    def done(self) -> bool:
        """Whether all have answered, or their time is over."""
        return not self._driver.waits

    def begin(self, now: float) -> Iterator[Action]:
        """End the step before, and ask this one; raises as `MaskedRoundDriver.proceed`."""
        yield from self._driver.proceed(now)
        yield from self._driver.advance(now)


class AgreementOnSurvivors(_StepStage):
    """Closing stage: each agent whose update counts signs the set of them all."""

    phase = RoundPhase.AGREEING


class Unmasking(_StepStage):
    """Closing stage: the agents reveal what removes the masks of the survivors' sum."""

    phase = RoundPhase.UNMASKING
