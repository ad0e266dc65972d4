"""Agreement of a job's agents on the names and order of classes and inputs. Pure.

Agents that number their classes differently train one model on contradictory labels, and no metric
shows it. So all agents of a job must have one list: the model's, if its spec has class names; else
that of the agents of the job's earlier rounds; else that of most agents. Without a majority the job
waits.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from fedbus.wire.announced_names import Names, classes_in, columns_in, decode_names
from fedbus.wire.documents import AgentFacts, ModelNeeds
from fedbus_controller.published_reasons import ControllerSentence

Agents: TypeAlias = Sequence[tuple[str, AgentFacts]]
_SHOWN: Final = 3
"""Number of lists in a message, and of agents named for each."""


@dataclass(frozen=True, slots=True)
class _NameKind:
    """A kind of names: its place in an announced format, and its words in messages."""

    find: Callable[[Mapping[str, Any]], Names | None]
    has: str
    option: str


_NAME_KINDS: Final = (
    _NameKind(classes_in, "numbers its classes", "classes"),
    _NameKind(columns_in, "has the inputs", "features"),
)


@dataclass(frozen=True, slots=True)
class AgreeingAgents:
    """The agents with the names of the job; the reason for each of the others.

    Attributes:
        conflict: Why no agent can be selected: no list has a majority. "" if there is none.
    """

    agreeing: Agents
    left_out: Mapping[str, str]
    conflict: str = ""

    @property
    def explanation(self) -> str:
        """The agents that are left out, with reasons, or the conflict; "" if there are none."""
        left_out = (f"{agent} is left out: {why}" for agent, why in self.left_out.items())
        return ControllerSentence(self.conflict or "; ".join(left_out))


class NameAgreement:
    """The names that all agents of one job must have, from its model's `needs`.

    After a restart of the controller, `earlier` are the agents of the job's last plan.
    """

    def __init__(self, needs: ModelNeeds | None, earlier: Iterable[str] = ()) -> None:
        classes = None if needs is None else decode_names(needs.classes)
        self._model = {"classes": classes}
        self._adopted: dict[str, Names] = {}
        self._earlier = frozenset(earlier)

    def check(self, agents: Agents) -> AgreeingAgents:
        """Separate the agents whose names differ from those of the job."""
        left_out: dict[str, str] = {}
        for kind in _NAME_KINDS:
            announced = {
                name: names for name, facts in agents if (names := kind.find(facts.format))
            }
            required, whose = self._required(kind, announced)
            if required is None and announced:
                return AgreeingAgents((), {}, _conflict(kind, announced))
            for agent, names in announced.items():
                if required is not None and names.digest != required.digest:
                    left_out.setdefault(
                        agent,
                        f"it {kind.has} {names}, {whose} {required} (FEDBUS_LOADER_OPTIONS can "
                        f'name them: "{kind.option}")',
                    )
        agreeing = [(agent, facts) for agent, facts in agents if agent not in left_out]
        return AgreeingAgents(agreeing, left_out)

    def adopt(self, agents: Agents) -> None:
        """Require the names of the selected agents from now on."""
        for kind in _NAME_KINDS:
            for _, facts in agents:
                if names := kind.find(facts.format):
                    self._adopted.setdefault(kind.option, names)

    def _required(
        self, kind: _NameKind, announced: Mapping[str, Names]
    ) -> tuple[Names | None, str]:
        if model := self._model.get(kind.option):
            return model, "the model has"
        if adopted := self._adopted.get(kind.option):
            return adopted, "the agents of this job's earlier rounds have"
        earlier = {agent: names for agent, names in announced.items() if agent in self._earlier}
        voters = earlier or announced
        lists = Counter(names.digest for names in voters.values())
        for digest, count in lists.most_common(1):
            if 2 * count > len(voters):
                names = next(names for names in voters.values() if names.digest == digest)
                return names, "most agents have"
        return None, ""


def _conflict(kind: _NameKind, announced: Mapping[str, Names]) -> str:
    lists: dict[str, list[str]] = {}
    for agent, names in announced.items():
        lists.setdefault(names.digest, []).append(agent)
    names_by = {names.digest: names for names in announced.values()}
    shown = []
    for digest, agents in list(lists.items())[:_SHOWN]:
        more = f" and {len(agents) - _SHOWN} more" if len(agents) > _SHOWN else ""
        shown.append(f"{', '.join(agents[:_SHOWN])}{more} {kind.has} {names_by[digest]}")
    return (
        f"agents differ, and no list has a majority: {'; '.join(shown)}; set "
        f'"{kind.option}" in the FEDBUS_LOADER_OPTIONS of each to one list'
    )
