"""Steps of a masked round at the collector: what to ask of whom, and when the round has failed.

The collector sees public keys, encrypted shares, masked updates, signatures, and in the last step
the shares that remove the masks of the sum. An agent that does not answer a step, or answers it
wrongly, is out of the round; the round goes on while each neighbourhood has as many agents as the
threshold asks for, and otherwise fails with nothing revealed. Pure.
"""

from collections.abc import Mapping, Sequence

from fedbus.errors import MaskingError, WireError
from fedbus.secure_aggregation.mask_streams import Mask
from fedbus.secure_aggregation.masked_progress import MaskedProgress
from fedbus.secure_aggregation.masked_task import LEAST_MASKED_AGENTS, MaskedTask
from fedbus.secure_aggregation.neighbours import NeighbourGraph, least_of
from fedbus.secure_aggregation.unmasking import (
    JoinedSecrets,
    joined_secrets,
    masks_to_remove,
)
from fedbus.text import counted
from fedbus.wire import codec
from fedbus.wire.secure_aggregation import (
    STEPS,
    SecureAggregationTerms,
    StepName,
)
from fedbus.wire.step_contents import (
    REPLIES,
)


class MaskedRound:
    """One masked round of a collector.

    Ask what `requests` says, pass on each `reply`, each `update_taken` and each agent that must
    `leave`; when `everything_answered`, or the step has timed out, `advance`. Once it is `done`,
    `masks` removes the masks from the sum of the survivors' updates.

    Args:
        terms: The job's.
        task: The task.
        cohort: The agents that are asked, in any order.
        identities: Known identity keys: keys and signatures that do not fit them are refused here
            instead of by all neighbours. More may be added while the round runs.
    """

    def __init__(
        self,
        terms: SecureAggregationTerms,
        task: MaskedTask,
        cohort: Sequence[str],
        identities: Mapping[str, str] | None = None,
    ) -> None:
        self._terms = terms
        self._task = task
        known = {} if identities is None else identities  # it may be filled later
        self._progress = MaskedProgress(task, terms, cohort, known)
        self._asked = set(self._progress.cohort)
        self._bytes: dict[tuple[StepName, str], bytes] = {}
        self._secrets: JoinedSecrets | None = None
        self.step: StepName = STEPS[0]
        self.failed = ""
        """Why the round cannot go on; empty while it can."""
        if len(self._progress.cohort) < LEAST_MASKED_AGENTS:
            self._fail_for_want(self._progress.cohort, LEAST_MASKED_AGENTS, "are in the cohort")

    @property
    def done(self) -> bool:
        """Whether the masks of the sum can be removed."""
        return self._secrets is not None

    @property
    def survivors(self) -> tuple[str, ...]:
        """The agents whose updates are in the sum, sorted; empty until the mask step has ended."""
        return self._progress.survivors

    @property
    def wrong(self) -> frozenset[str]:
        """The agents that revealed wrong shares, once the round is done."""
        return frozenset(self._secrets.wrong) if self._secrets else frozenset()

    @property
    def everything_answered(self) -> bool:
        """Whether no agent that is still in the round owes an answer, or its masked update."""
        return not self.waited_for

    @property
    def waited_for(self) -> tuple[str, ...]:
        """The agents that owe an answer, or in the mask step their masked update, sorted."""
        answers = self._progress.answers[self.step]
        got = self._progress.updates if self.step == "mask" else answers
        return tuple(sorted(self._asked - got.keys()))

    def requests(self) -> dict[str, tuple[StepName, bytes]]:
        """Return what is asked now, by agent: the step, and the content of its request."""
        if self.failed or self.done:
            return {}
        step, progress = self.step, self._progress
        waiting = sorted(self._asked - progress.answers[step].keys())
        return {agent: (step, codec.pack(progress.request(step, agent))) for agent in waiting}

    def reply(self, agent: str, step: StepName, content: bytes) -> str:
        """Take an agent's answer; return why it is refused, or nothing.

        An agent whose answer to the current step is refused is out of the round, unless an earlier
        answer of it to the same step was taken.
        """
        if (step, agent) in self._bytes:
            same = self._bytes[step, agent] == content
            return "" if same else f"{agent} has answered the step {step} in another way before"
        if self.failed or self.done or step != self.step:
            return f"the step {step} is not the one that is asked now"
        if agent not in self._asked:
            return f"{agent} is not asked in the step {step}"
        try:
            answer = codec.unpack(REPLIES[step], content)
            self._progress.check(agent, answer)
        except (MaskingError, WireError) as error:
            self.leave(agent)
            named = f"{error}" if agent in f"{error}" else f"{agent}: {error}"
            return f"{named} (step {step})"
        self._progress.answers[step][agent] = answer
        self._bytes[step, agent] = content
        return ""

    def leave(self, agent: str) -> None:
        """Ask an agent no more; an update of it that was taken stays in the sum."""
        self._asked.discard(agent)

    def update_taken(self, agent: str, digest: str) -> str:
        """Note that an agent's masked update is in the sum; return why it must not be, or nothing.

        Call it when the update was checked, and before it is added.
        """
        if self.failed or self.step != "mask":
            return f"{agent} offers a masked update, and the step mask is not the one asked now"
        if agent not in self._progress.masked:
            return f"{agent} offers a masked update and has not shared its secrets"
        if agent in self._progress.updates:
            return f"{agent} offers a second masked update"
        self._progress.updates[agent] = digest
        return ""

    def advance(self) -> None:
        """End the step without the agents that have not answered; begin the next, or fail."""
        if self.failed or self.done:
            return
        match self.step:
            case "keys":
                self._end_keys()
            case "shares":
                self._end_shares()
            case "mask":
                self._end_mask()
            case "survivors":
                self._end_survivors()
            case _:
                self._end_unmask()
        if not self.failed and not self.done:
            self.step = STEPS[STEPS.index(self.step) + 1]

    def masks(self) -> tuple[Mask, ...]:
        """Return what must be added to the sum of the survivors' masked updates, modulo 2^m.

        Raises:
            MaskingError: The round is not done.
        """
        if self._secrets is None:
            raise MaskingError(self.failed or "the sum is not unmasked yet")
        return tuple(masks_to_remove(self._progress.masked_sum(), self._secrets))

    def _end_keys(self) -> None:
        progress = self._progress
        agents = sorted(progress.answers["keys"])
        least = max(least_of(self._terms.threshold, len(progress.cohort)), LEAST_MASKED_AGENTS)
        if len(agents) < least:
            self._fail_for_want(agents, least, "have made keys")
            return
        progress.graph = NeighbourGraph(self._task, agents, self._terms)
        self._asked.intersection_update(agents)

    def _end_shares(self) -> None:
        graph, shared = self._progress.graph, tuple(sorted(self._progress.answers["shares"]))
        masked = shared
        # An agent refuses to mask with too few neighbours; without it, others may have too few.
        while alone := graph.left_alone(masked, masked):
            masked = tuple(agent for agent in masked if agent not in alone)
        if len(masked) < LEAST_MASKED_AGENTS:
            what = "have shared their secrets, too few of each neighbourhood"
            self._fail_for_want(shared, graph.least, what)
            return
        self._progress.masked = masked
        self._asked.intersection_update(masked)

    def _end_mask(self) -> None:
        survivors, what = tuple(sorted(self._progress.updates)), "have offered their masked updates"
        if not self._enough(survivors, what):
            return
        if len(survivors) < LEAST_MASKED_AGENTS:  # a threshold of 0.6 lets one of three drop out
            self._fail_for_want(survivors, LEAST_MASKED_AGENTS, what)
        else:
            self._progress.survivors = survivors
            self._asked.intersection_update(survivors)

    def _end_survivors(self) -> None:
        signers = self._progress.answers["survivors"]
        alone = self._progress.graph.left_alone(tuple(signers), tuple(signers))
        able = tuple(agent for agent in signers if agent not in alone)
        if self._enough(able, "have signed the survivors"):
            self._asked.intersection_update(able)

    def _end_unmask(self) -> None:
        revealed: dict[str, dict[str, bytes]] = {agent: {} for agent in self._progress.masked}
        for by, shares in self._progress.answers["unmask"].items():
            for each in (*shares.dropped, *shares.survived):
                revealed[each.agent][by] = each.share
        try:
            self._secrets = joined_secrets(self._progress.masked_sum(), revealed)
        except MaskingError as error:
            self.failed = f"the sum cannot be unmasked: {error}"

    def _enough(self, present: Sequence[str], what: str) -> bool:
        """Fail unless each agent that masked has enough others whose shares remove its masks."""
        graph = self._progress.graph
        alone = graph.left_alone(present, self._progress.masked)
        if alone:
            near = sorted(set(present).intersection(graph.neighbourhood(alone[0])))
            self._fail_for_want(near, graph.least, f"around {alone[0]} {what}")
        return not alone

    def _fail_for_want(self, agents: Sequence[str], least: int, what: str) -> None:
        self.failed = f"{counted(len(agents), 'agent')} {what}, and {least} are needed"
