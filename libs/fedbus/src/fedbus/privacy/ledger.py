"""Ledger of a job's noisy releases: who may take part next, and what the accountant composes. Pure.

The repository keeps the entries and the controller only `Participation` tuples; both decide by
`participation_fault`, so that a plan of the one is not refused by the other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from fedbus.digest import hasher
from fedbus.text import counted
from fedbus.wire.privacy import LedgerEntry, NoiseStep, Participation, PrivacyTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """What ε depends on, beside the terms: a summary of a ledger.

    Attributes:
        entries: Number of entries.
        participations: Most entries in which one agent took part.
        precision: Greatest sum, over the entries of one agent, of 1/noise_multiplier². Gaussian
            noise on the same agent's data, drawn several times, is as a whole Gaussian noise of the
            multiplier precision^(-1/2).
        multipliers: The number of entries with each noise multiplier, sorted; those without agents
            count as well, since Poisson sampling hides whether an agent took part.
        separation: Fewest entries from a participation of an agent to its next one: 1 if one agent
            took part in two consecutive entries; None if no agent took part twice.
    """

    entries: int = 0
    participations: int = 0
    precision: float = 0.0
    multipliers: tuple[tuple[float, int], ...] = ()
    separation: int | None = None


def planned_composition(terms: PrivacyTerms, entries: int, participations: int) -> Composition:
    """Return what the ledger of a job adds up to if it runs as planned.

    Args:
        terms: Those of the job, whose separation is kept.
        entries: Number of rounds.
        participations: Most rounds in which one agent takes part.
    """
    sigma = terms.noise_multiplier
    return Composition(
        entries=entries,
        participations=participations,
        precision=participations * _inverse_square(sigma) if participations else 0.0,
        multipliers=((sigma, entries),) if entries else (),
        separation=terms.min_separation if participations > 1 else None,
    )


def participation_fault(
    terms: PrivacyTerms,
    agents: Iterable[str],
    participations: Mapping[str, Participation],
    entries: int,
) -> str | None:
    """Return why these agents may not take part in entry number `entries` + 1, or None.

    The sentence names the first such agent, in the given order.

    Args:
        terms: Those of the job; `min_separation` and `max_participations` count ledger entries.
        agents: The cohort of a plan, or the contributors of an entry.
        participations: What the ledger says about each agent; an agent without any is not in it.
        entries: The number of entries that the ledger has.
    """
    for agent in agents:
        if fault := _agent_fault(terms, participations.get(agent), entries):
            return fault
    return None


def eligible(terms: PrivacyTerms, participation: Participation | None, entries: int) -> bool:
    """Return whether an agent may take part in entry number `entries` + 1; None: it never did."""
    return _agent_fault(terms, participation, entries) is None


def _agent_fault(terms: PrivacyTerms, had: Participation | None, entries: int) -> str | None:
    if had is None or not had.count:
        return None
    most = terms.max_participations
    if most is not None and had.count >= most:
        return (
            f"agent {had.agent} has taken part in {counted(had.count, 'entry')} of the "
            f"job's ledger, the last is entry {had.last}; max_participations allows {most}"
        )
    if entries + 1 - had.last < terms.min_separation:
        return (
            f"agent {had.agent} has taken part in entry {had.last} of the job's ledger; "
            f"min_separation {terms.min_separation} allows it again from entry "
            f"{had.last + terms.min_separation}, and the next one is entry {entries + 1}"
        )
    return None


class Ledger:
    """A job's ledger in memory; an entry costs time in proportion to its own agents only.

    Of each entry it keeps what its noise was drawn from and a digest, not the agents' names.
    """

    def __init__(self, entries: Iterable[LedgerEntry] = ()) -> None:
        self._tasks: dict[int, tuple[str, NoiseStep | None]] = {}
        self._counts: dict[str, tuple[int, int, float]] = {}
        self._multipliers: dict[float, int] = {}
        self._most = Composition()
        for entry in entries:
            self.append(entry)

    @property
    def entries(self) -> int:
        """Number of entries."""
        return len(self._tasks)

    def participations(self) -> tuple[Participation, ...]:
        """Return what the ledger says about each agent in it, sorted by the agents' names."""
        return tuple(
            Participation(agent=agent, count=count, last=last)
            for agent, (count, last, _) in sorted(self._counts.items())
        )

    def participation(self, agent: str) -> Participation | None:
        """Return in how many entries an agent took part, and in which one last; None: in none."""
        if agent not in self._counts:
            return None
        count, last, _ = self._counts[agent]
        return Participation(agent=agent, count=count, last=last)

    def participation_fault(self, terms: PrivacyTerms, agents: Iterable[str]) -> str | None:
        """Return why these agents may not take part in the next entry, or None."""
        for agent in agents:
            if fault := _agent_fault(terms, self.participation(agent), self.entries):
                return fault
        return None

    def eligible(self, terms: PrivacyTerms, agent: str) -> bool:
        """Return whether an agent may take part in the next entry."""
        return eligible(terms, self.participation(agent), self.entries)

    def has(self, entry: LedgerEntry) -> bool:
        """Return whether the ledger has an equal entry."""
        return self._tasks.get(entry.task, ("", None))[0] == _fingerprint(entry)

    def task_fault(self, entry: LedgerEntry) -> str | None:
        """Return why this entry cannot be the one of its task, or None; an equal one can be.

        Noise that was drawn for one set of updates must never be drawn for another one: the
        difference of the two results would have no noise.
        """
        if entry.task not in self._tasks or self.has(entry):
            return None
        return (
            f"task {entry.task} of job {entry.job} has a ledger entry for other agents or updates; "
            "its noise may not be drawn again: the round needs a new task"
        )

    def append(self, entry: LedgerEntry) -> None:
        """Append an entry; an equal one for a task that has one changes nothing.

        Raises:
            ValueError: The task has another entry.
        """
        if fault := self.task_fault(entry):
            raise ValueError(fault)
        if entry.task in self._tasks:
            return
        agents = set(entry.agents)
        self._most = self.composition_with(agents, entry.noise_multiplier)
        step = self.entries + 1
        weight = _inverse_square(entry.noise_multiplier)
        for agent in agents:
            count, _, precision = self._counts.get(agent, (0, 0, 0.0))
            self._counts[agent] = (count + 1, step, precision + weight)
        self._multipliers = dict(self._most.multipliers)
        self._tasks[entry.task] = (_fingerprint(entry), _noise_step(entry))

    def steps(self) -> tuple[NoiseStep, ...]:
        """Return what the noise of each entry was drawn from, in the entries' order.

        Entries whose noise the agents drew are left out.
        """
        return tuple(step for _, step in self._tasks.values() if step is not None)

    def composition(self) -> Composition:
        """Return what the accountant composes."""
        return self._most

    def composition_with(self, agents: Iterable[str], noise_multiplier: float) -> Composition:
        """Return what the accountant would compose after one more entry of these agents."""
        most, step, weight = self._most, self.entries + 1, _inverse_square(noise_multiplier)
        count, precision, separation = most.participations, most.precision, most.separation
        for agent in set(agents):
            had, last, before = self._counts.get(agent, (0, 0, 0.0))
            count, precision = max(count, had + 1), max(precision, before + weight)
            if had:
                separation = min(separation or step, step - last)
        multipliers = dict(self._multipliers)
        multipliers[noise_multiplier] = multipliers.get(noise_multiplier, 0) + 1
        return Composition(
            entries=step,
            participations=count,
            precision=precision,
            multipliers=tuple(sorted(multipliers.items())),
            separation=separation,
        )


def _inverse_square(noise_multiplier: float) -> float:
    """Return 1/σ², and infinity where it is no number: without noise nothing is hidden."""
    square = noise_multiplier * noise_multiplier
    return 1 / square if square else inf


def _noise_step(entry: LedgerEntry) -> NoiseStep | None:
    if entry.updates is None:
        return None
    return NoiseStep(round=entry.round, task=entry.task, updates=entry.updates)


def _fingerprint(entry: LedgerEntry) -> str:
    """Return a digest of an entry; the order of its agents does not matter."""
    parts = (
        *(entry.job, str(entry.round), str(entry.task), entry.updates or ""),
        *(float(entry.noise_multiplier).hex(), *sorted(entry.agents)),
    )
    digest = hasher()
    for part in parts:
        text = part.encode()
        digest.update(len(text).to_bytes(8, "little") + text)
    return digest.hexdigest()
