"""Sentences about private jobs as documents and logs may have them: without names of agents. Pure.

Each part of the controller writes its sentences for all jobs; this is the one place that takes the
names out, so that no part can forget it.
"""

import re
from collections import Counter
from typing import Final

from fedbus.text import counted

_AGENT: Final = r"\bagent\.[\w.-]*\w"
_AGENTS: Final = re.compile(rf"{_AGENT}(?:, {_AGENT})*(?: and (\d+) more)?")
_SHARE: Final = re.compile(r"\b\d+ of \d+(?= updates| came)")
_PART: Final = "; "
_ONE: Final = "an agent is "


def without_agents(sentence: str) -> str:
    """Return a sentence with numbers of agents in place of their names.

    Parts that differ in names alone become one part about several agents.
    """
    parts = Counter(_AGENTS.sub(_count, sentence).split(_PART))
    return _PART.join(_about(number, part) for part, number in parts.items())


def failure_without_figures(reason: str, *, secret: bool) -> str:
    """Return why a round failed, without what a collector quotes of single agents.

    That is in the parts after the first. Of a `secret` cohort not even its size is told.
    """
    first = without_agents(reason.partition(_PART)[0])
    return _SHARE.sub("too few", first) if secret else first


def _count(found: re.Match[str]) -> str:
    number = found[0].count(", ") + 1 + int(found[1] or 0)
    return "an agent" if number == 1 else counted(number, "agent")


def _about(number: int, part: str) -> str:
    several = number > 1 and part.startswith(_ONE)
    return f"{number} agents are {part.removeprefix(_ONE)}" if several else part
