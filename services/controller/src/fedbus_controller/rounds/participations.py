"""Participations: in which ledger entries of a private job each agent took part, and who may. Pure.

The repository's ledger decides. A controller keeps a copy, so that it plans no cohort that the
repository would refuse: loaded with the job, advanced by each committed round. After a failed round
only the repository knows whether noise was drawn: then the copy is outdated until it is loaded.

Where ε is that of the agent with most participations, the repository refuses a cohort with an agent
whose ε would exceed the budget. Agents with as many participations are then not asked any more, and
the job goes on with the others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedbus.privacy import ledger
from fedbus.privacy.composed_noise import depends_on_participations
from fedbus.text import counted
from fedbus.wire.privacy import Participation, PrivacySpent, PrivacyTerms


@dataclass(frozen=True, slots=True)
class AllowedAgents:
    """Agents that may take part in the next entry; why the others may not.

    `spent` agents have taken part as often as the job allows, and are never free again; `resting`
    ones took part too recently. `reasons` continues a message: `; 2 have …`, or is empty; it has
    no names, since the job's state is public.
    """

    allowed: Sequence[str]
    resting: Sequence[str]
    spent: Sequence[str]
    reasons: str


class Participations:
    """The copy of a job's ledger.

    Attributes:
        outdated: Whether the repository may know of further entries.
        over_budget: Whether the repository refused a cohort for its ε.
    """

    def __init__(
        self, terms: PrivacyTerms | None, spent: PrivacySpent | None, of: Iterable[Participation]
    ) -> None:
        self._terms = terms
        self._most = None if terms is None else terms.max_participations
        self.over_budget = False
        self._of: dict[str, Participation] = {}
        self.load(0 if spent is None else spent.entries, of)

    def load(self, entries: int, of: Iterable[Participation]) -> None:
        """Take over what the repository's ledger says.

        A message has no room for all agents of a large fleet. What is known of the others stays
        true: entries are never deleted.
        """
        self._entries = entries
        for each in of:
            known = self._of.get(each.agent)
            if known is None or each.count >= known.count:
                self._of[each.agent] = each
        self.outdated = False

    def expire(self) -> None:
        """Note that the repository may know of an entry that is not in the copy."""
        self.outdated = True

    def add(self, agents: Iterable[str], spent: PrivacySpent | None) -> None:
        """Add the entry of a committed round; `spent` is what the ledger adds up to with it.

        A controller that was restarted in the round may have loaded that entry: it counts once.
        """
        if spent is not None and spent.entries <= self._entries:
            return
        self._entries += 1
        for agent in agents:
            before = self._of.get(agent)
            count = 1 if before is None else before.count + 1
            self._of[agent] = Participation(agent=agent, count=count, last=self._entries)
        most = max((each.count for each in self._of.values()), default=0)
        known = spent is not None and (spent.entries, spent.participations) == (self._entries, most)
        self.outdated = self.outdated or not known

    def took_part(self, agent: str) -> bool:
        """Return whether an agent's data are in any entry."""
        return agent in self._of

    def is_spent(self, agent: str) -> bool:
        """Return whether an agent has taken part as often as the job allows."""
        return self._most is not None and agent in self._of and self._of[agent].count >= self._most

    def lower_limit(self, refused: Iterable[str]) -> bool:
        """Ask no agent any more that has taken part as often as the one with most of a cohort.

        The repository refused that cohort for its ε. Return whether other agents may be possible.
        """
        most = max((self._of[agent].count for agent in refused if agent in self._of), default=0)
        if self._terms is None or not depends_on_participations(self._terms) or not most:
            return False
        self._most, self.over_budget = most, True
        return True

    def check(self, agents: Iterable[str]) -> AllowedAgents:
        """Separate the agents that may take part in the next entry from the others."""
        terms = self._terms
        if terms is None:
            return AllowedAgents([*agents], [], [], "")
        allowed: list[str] = []
        resting: list[str] = []
        spent: list[str] = []
        for agent in agents:
            if self.is_spent(agent):
                spent.append(agent)
            elif ledger.eligible(terms, self._of.get(agent), self._entries):
                allowed.append(agent)
            else:
                resting.append(agent)
        return AllowedAgents(allowed, resting, spent, self._reasons(terms, resting, spent))

    def _reasons(self, terms: PrivacyTerms, resting: Sequence[str], spent: Sequence[str]) -> str:
        reasons = ""
        if resting:
            least = terms.min_separation
            took = f"{counted(len(resting), 'agent')} took part within the last"
            last = min(self._of[agent].last for agent in resting)
            wait = counted(last + least - self._entries - 1, "more step")
            reasons = f"; {took} {counted(least - 1, 'step')} (min_separation {least}), the first "
            reasons += f"is free after {wait}"
        if spent:
            has = "agent has" if len(spent) == 1 else "agents have"
            key = "target_epsilon" if self.over_budget else "max_participations"
            reasons += f"; {len(spent)} {has} taken part as often as {key} allows"
        return reasons
