"""Remarks below the table of `fedbus agents`: refused tasks and contradicting names."""

from collections.abc import Iterator, Sequence
from typing import Final

from fedbus.wire.announced_names import classes_in, columns_in
from fedbus.wire.documents import NodeState

_SHOWN: Final = 6
"""Agents named in one line."""


def remarks(states: Sequence[NodeState]) -> Iterator[str]:
    """Yield a line for each agent that takes no tasks and each disagreement on names."""
    agents = {s.node: s.agent for s in states if s.online and s.agent is not None}
    for node, facts in agents.items():
        if facts.trouble:
            yield f"{node} takes no tasks: {facts.trouble}"
    for what, find in (("classes", classes_in), ("inputs", columns_in)):
        lists: dict[str, list[str]] = {}
        shown: dict[str, str] = {}
        for node, facts in agents.items():
            if names := find(facts.format):
                lists.setdefault(names.digest, []).append(node)
                shown[names.digest] = str(names)
        silent = [node for node, facts in agents.items() if facts.format and not find(facts.format)]
        if lists and silent:
            yield f"not checked, as they name no {what}: {_some(silent)}"
        if len(lists) > 1:
            yield f"agents name their {what} differently, and a job needs one list:"
            yield from (f"  {shown[digest]}: {_some(nodes)}" for digest, nodes in lists.items())


def _some(nodes: Sequence[str]) -> str:
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    return ", ".join(nodes[:_SHOWN]) + more
