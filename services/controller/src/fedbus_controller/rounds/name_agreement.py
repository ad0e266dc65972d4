"""Which agents of a job give classes and inputs the same names in the same order. Pure.

Two agents that number their classes differently train one model on contradictions, and no figure
shows it. So a job holds all its agents to one list: the model's, if its spec has class names; else
that of the agents of its earlier rounds; else that of most agents. Without a majority it waits.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from fedbus.wire.announced_names import Names, classes_in, columns_in, decode_names
from fedbus.wire.documents import AgentFacts, ModelNeeds

Agents: TypeAlias = Sequence[tuple[str, AgentFacts]]
_SHOWN: Final = 3
"""Agents that a sentence names for each list."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is compared: how it is found in an announced format, and what a sentence says of it."""

    find: Callable[[Mapping[str, Any]], Names | None]
    has: str
    option: str


_SUBJECTS: Final = (
    _Subject(classes_in, "numbers its classes", "classes"),
    _Subject(columns_in, "has the inputs", "features"),
)


@dataclass(frozen=True, slots=True)
class AgreeingAgents:
    """The agents that agree; of the others, why each is left out.

    Attributes:
        conflict: Why nobody can be chosen: no list has a majority. "" is no conflict.
    """

    able: Agents
    left_out: Mapping[str, str]
    conflict: str = ""

    @property
    def told(self) -> str:
        """Say who is left out and why, or that nobody agrees; "" is nobody."""
        return self.conflict or "; ".join(
            f"{agent} is left out: {why}" for agent, why in self.left_out.items()
        )


class NameAgreement:
    """The names that all agents of one job share.

    Args:
        needs: What of the model's spec the controller knows.
        before: The agents of the job's last plan, after a restart of the controller.
    """

    def __init__(self, needs: ModelNeeds | None, before: Iterable[str] = ()) -> None:
        classes = None if needs is None else decode_names(needs.classes)
        self._model = {"classes": classes}
        self._held: dict[str, Names] = {}
        self._before = frozenset(before)

    def among(self, agents: Agents) -> AgreeingAgents:
        """Leave out the agents whose names differ from those of the job."""
        left_out: dict[str, str] = {}
        for subject in _SUBJECTS:
            said = {name: names for name, facts in agents if (names := subject.find(facts.format))}
            wanted, whose = self._wanted(subject, said)
            if wanted is None and said:
                return AgreeingAgents((), {}, _conflict(subject, said))
            for agent, names in said.items():
                if wanted is not None and names.digest != wanted.digest:
                    left_out.setdefault(
                        agent,
                        f"it {subject.has} {names}, {whose} {wanted} (FEDBUS_LOADER_OPTIONS can "
                        f'name them: "{subject.option}")',
                    )
        able = [(agent, facts) for agent, facts in agents if agent not in left_out]
        return AgreeingAgents(able, left_out)

    def hold(self, agents: Agents) -> None:
        """Hold the job to the names of the agents that were chosen."""
        for subject in _SUBJECTS:
            for _, facts in agents:
                if names := subject.find(facts.format):
                    self._held.setdefault(subject.option, names)

    def _wanted(self, subject: _Subject, said: Mapping[str, Names]) -> tuple[Names | None, str]:
        if model := self._model.get(subject.option):
            return model, "the model has"
        if held := self._held.get(subject.option):
            return held, "the agents of this job's earlier rounds have"
        earlier = {agent: names for agent, names in said.items() if agent in self._before}
        voters = earlier or said
        lists = Counter(names.digest for names in voters.values())
        for digest, count in lists.most_common(1):
            if 2 * count > len(voters):
                names = next(names for names in voters.values() if names.digest == digest)
                return names, "most agents have"
        return None, ""


def _conflict(subject: _Subject, said: Mapping[str, Names]) -> str:
    lists: dict[str, list[str]] = {}
    for agent, names in said.items():
        lists.setdefault(names.digest, []).append(agent)
    names_by = {names.digest: names for names in said.values()}
    told = []
    for digest, agents in list(lists.items())[:_SHOWN]:
        more = f" and {len(agents) - _SHOWN} more" if len(agents) > _SHOWN else ""
        told.append(f"{', '.join(agents[:_SHOWN])}{more} {subject.has} {names_by[digest]}")
    return (
        f"agents differ, and no list has a majority: {'; '.join(told)}; set "
        f'"{subject.option}" in the FEDBUS_LOADER_OPTIONS of each to one list'
    )
