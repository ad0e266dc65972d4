"""Steps of a masked round at the collector: what to ask of whom, and when the round has failed.

The collector sees public keys, encrypted shares, masked updates, signatures, and in the last step
the shares that remove the masks of the sum. An agent that does not answer a step, or answers it
wrongly, is out of the round; the round goes on while each neighbourhood has as many agents as the
threshold asks for, and otherwise fails with nothing revealed. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fedbus.errors import MaskingError, WireError
from fedbus.secure_aggregation import reply_checks
from fedbus.secure_aggregation.mask_streams import Mask
from fedbus.secure_aggregation.masked_task import LEAST_MASKED_AGENTS, MaskedTask
from fedbus.secure_aggregation.neighbours import NeighbourGraph, least_of
from fedbus.secure_aggregation.signed_sets import digest_of_updates, survivors_to_sign
from fedbus.secure_aggregation.unmasking import (
    JoinedSecrets,
    MaskedSum,
    joined_secrets,
    masks_to_remove,
)
from fedbus.text import counted
from fedbus.wire import codec
from fedbus.wire.secure_aggregation import (
    STEPS,
    AgentKeys,
    SecureAggregationTerms,
    SignedBy,
    StepName,
)
from fedbus.wire.step_contents import (
    REPLIES,
    KeysRequest,
    MaskRequest,
    SharesRequest,
    SharesRevealed,
    SharesSealed,
    ShareTo,
    SurvivorsRequest,
    SurvivorsSigned,
    UnmaskRequest,
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
            instead of by all neighbours.
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
        self._cohort = tuple(sorted(set(cohort)))
        self._identities = identities or {}
        self._graph = NeighbourGraph(task, (), terms.neighbours)
        self._masked: tuple[str, ...] = ()
        self._survivors: tuple[str, ...] = ()
        self._asked = set(self._cohort)
        self._answers: dict[StepName, dict[str, Any]] = {name: {} for name in STEPS}
        self._bytes: dict[tuple[StepName, str], bytes] = {}
        self._updates: dict[str, str] = {}
        self._secrets: JoinedSecrets | None = None
        self.step: StepName = STEPS[0]
        self.failed = ""
        """Why the round cannot go on; empty while it can."""
        if len(self._cohort) < LEAST_MASKED_AGENTS:
            self._fail_for_want(self._cohort, LEAST_MASKED_AGENTS, "are in the cohort")

    @property
    def done(self) -> bool:
        """Whether the masks of the sum can be removed."""
        return self._secrets is not None

    @property
    def survivors(self) -> tuple[str, ...]:
        """The agents whose updates are in the sum, sorted; empty until the mask step has ended."""
        return self._survivors

    @property
    def updates(self) -> str:
        """The digest of the survivors' updates, as they sign it."""
        return digest_of_updates({agent: self._updates[agent] for agent in self._survivors})

    @property
    def wrong(self) -> frozenset[str]:
        """The agents that revealed wrong shares, once the round is done."""
        return frozenset(self._secrets.wrong) if self._secrets else frozenset()

    @property
    def everything_answered(self) -> bool:
        """Whether no agent that is still in the round owes an answer, or its masked update."""
        got = self._updates if self.step == "mask" else self._answers[self.step]
        return self._asked <= got.keys()

    @property
    def waited_for(self) -> tuple[str, ...]:
        """The agents that owe an answer, or their masked update, sorted."""
        got = self._updates if self.step == "mask" else self._answers[self.step]
        return tuple(sorted(self._asked - got.keys()))

    def requests(self) -> dict[str, tuple[StepName, bytes]]:
        """Return what is asked now, by agent: the step, and the content of its request."""
        if self.failed or self.done:
            return {}
        waiting = sorted(self._asked - self._answers[self.step].keys())
        return {agent: (self.step, codec.pack(self._request(agent))) for agent in waiting}

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
            self._check(agent, answer)
        except (MaskingError, WireError) as error:
            self.leave(agent)
            named = f"{error}" if agent in f"{error}" else f"{agent}: {error}"
            return f"{named} (step {step})"
        self._answers[step][agent] = answer
        self._bytes[step, agent] = content
        return ""

    def leave(self, agent: str) -> None:
        """Ask an agent no more; an update of it that was taken stays in the sum."""
        self._asked.discard(agent)

    def update_taken(self, agent: str, digest: str) -> str:
        """Note that an agent's masked update is in the sum; return why it must not be, or nothing.

        Call it before the update is added.
        """
        if self.failed or self.step != "mask":
            return f"{agent} offers a masked update, and the step mask is not the one asked now"
        if agent not in self._masked:
            return f"{agent} offers a masked update and has not shared its secrets"
        if agent in self._updates:
            return f"{agent} offers a second masked update"
        self._updates[agent] = digest
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
            case "unmask":
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
        return tuple(masks_to_remove(self._sum(), self._secrets))

    @property
    def _least(self) -> int:
        return least_of(self._terms.threshold, self._graph.size)

    def _end_keys(self) -> None:
        agents = sorted(self._answers["keys"])
        least = max(least_of(self._terms.threshold, len(self._cohort)), LEAST_MASKED_AGENTS)
        if len(agents) < least:
            self._fail_for_want(agents, least, "have made keys")
            return
        self._graph = NeighbourGraph(self._task, agents, self._terms.neighbours)
        self._asked.intersection_update(agents)

    def _end_shares(self) -> None:
        masked = tuple(sorted(self._answers["shares"]))
        # An agent refuses to mask with too few neighbours; without it, others may have too few.
        while alone := self._graph.left_alone(masked, masked, self._least):
            masked = tuple(agent for agent in masked if agent not in alone)
        if len(masked) < LEAST_MASKED_AGENTS:
            self._fail_for_want(masked, self._least, "of each neighbourhood have shared secrets")
            return
        self._masked = masked
        self._asked.intersection_update(masked)

    def _end_mask(self) -> None:
        survivors = tuple(sorted(self._updates))
        if self._enough(survivors, "have offered their masked updates"):
            self._survivors = survivors
            self._asked.intersection_update(survivors)

    def _end_survivors(self) -> None:
        signers = self._answers["survivors"]
        alone = self._graph.left_alone(tuple(signers), tuple(signers), self._least)
        able = tuple(agent for agent in signers if agent not in alone)
        if self._enough(able, "have signed the survivors"):
            self._asked.intersection_update(able)

    def _end_unmask(self) -> None:
        revealed: dict[str, dict[str, bytes]] = {agent: {} for agent in self._masked}
        for by, shares in self._answers["unmask"].items():
            for each in (*shares.dropped, *shares.survived):
                revealed[each.agent][by] = each.share
        try:
            self._secrets = joined_secrets(self._sum(), revealed)
        except MaskingError as error:
            self.failed = f"the sum cannot be unmasked: {error}"

    def _enough(self, present: Sequence[str], what: str) -> bool:
        """Fail unless each agent that masked has enough others whose shares remove its masks."""
        alone = self._graph.left_alone(present, self._masked, self._least)
        if alone:
            near = set(present).intersection(self._graph.neighbourhood(alone[0]))
            self._fail_for_want(sorted(near), self._least, f"around {alone[0]} {what}")
        return not alone

    def _fail_for_want(self, agents: Sequence[str], least: int, what: str) -> None:
        self.failed = f"{counted(len(agents), 'agent')} {what}, and {least} are needed"

    def _sum(self) -> MaskedSum:
        keys, shares = self._answers["keys"], self._answers["shares"]
        return MaskedSum(
            task=self._task,
            graph=self._graph,
            masked=self._masked,
            survivors=self._survivors,
            mask_keys={agent: keys[agent].mask_key for agent in self._masked},
            seed_digests={agent: shares[agent].seed_digest for agent in self._masked},
            least=self._least,
        )

    def _request(self, agent: str) -> object:
        near = self._graph.neighbours(agent) if agent in self._graph.agents else ()
        match self.step:
            case "keys":
                return KeysRequest(cohort=self._cohort)
            case "shares":
                keys = self._answers["keys"]
                return SharesRequest(agents=self._graph.agents, keys=tuple(keys[n] for n in near))
            case "mask":
                return MaskRequest(agents=self._masked, shares=self._shares_for(agent, near))
            case "survivors":
                return SurvivorsRequest(survivors=self._survivors, updates=self.updates)
            case "unmask":
                signed = self._answers["survivors"]
                signatures = tuple(
                    SignedBy(agent=name, signature=signed[name].signature)
                    for name in near
                    if name in signed
                )
                return UnmaskRequest(
                    survivors=self._survivors, updates=self.updates, signatures=signatures
                )

    def _shares_for(self, agent: str, near: Sequence[str]) -> tuple[ShareTo, ...]:
        sent = self._answers["shares"]
        shares = []
        for name in near:
            if name in self._masked:
                place = self._graph.neighbours(name).index(agent)
                shares.append(ShareTo(agent=name, sealed=sent[name].shares[place].sealed))
        return tuple(shares)

    def _check(self, agent: str, answer: Any) -> None:  # noqa: ANN401 - a class of `REPLIES`
        identity = self._identities.get(agent)
        match answer:
            case AgentKeys():
                reply_checks.check_keys(self._task, agent, answer, identity)
            case SharesSealed():
                reply_checks.check_shares(agent, answer, self._graph.neighbours(agent))
            case SurvivorsSigned():
                message = survivors_to_sign(
                    self._task, self._graph.agents, self._masked, self._survivors, self.updates
                )
                reply_checks.check_signature(
                    agent, "the survivors", message, answer.signature, identity
                )
            case SharesRevealed():
                near = set(self._graph.neighbourhood(agent)).intersection(self._masked)
                survived = near.intersection(self._survivors)
                reply_checks.check_revealed(agent, answer, near - survived, survived)
            case _:
                pass  # MaskAgreed has no field
