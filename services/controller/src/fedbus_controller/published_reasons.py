"""Sentences about private jobs as documents and logs may have them: without names of agents. Pure.

Of a private job only sentences are published that the controller composed itself: each is marked as
a `ControllerSentence` where it is written. What others say (a collector, a plug-in) may have an
agent's name or figure, in words that no pattern knows: a sentence without the mark is withheld.
"""

import re
from collections import Counter
from typing import Final

from fedbus.text import counted

_AGENT: Final = r"\bagent\.[\w.-]*\w"
_AGENTS: Final = re.compile(rf"{_AGENT}(?:, {_AGENT})*(?: and (\d+) more)?")
_PART: Final = "; "
_ONE: Final = "an agent is "
WITHHELD: Final = "the reason is in the controller's log: reason_withheld"
"""What is published of a private job in place of what others say."""


class ControllerSentence(str):
    """A sentence that the controller composed of counts, settings and what every user may read.

    It may name agents: `published_reason` takes their names out. What is made of it, such as a
    longer sentence, is plain text again, and must be marked again by who has read it.
    """

    __slots__ = ()


def published_reason(sentence: str) -> str:
    """Return what documents of a private job may have of a sentence."""
    if not sentence:
        return ""
    return without_agents(sentence) if isinstance(sentence, ControllerSentence) else WITHHELD


def without_agents(sentence: str) -> str:
    """Return a sentence with numbers of agents in place of their names.

    Parts that differ in names alone become one part about several agents.
    """
    parts = Counter(_AGENTS.sub(_count, sentence).split(_PART))
    return _PART.join(_about(number, part) for part, number in parts.items())


def _count(found: re.Match[str]) -> str:
    number = found[0].count(", ") + 1 + int(found[1] or 0)
    return "an agent" if number == 1 else counted(number, "agent")


def _about(number: int, part: str) -> str:
    several = number > 1 and part.startswith(_ONE)
    return f"{number} agents are {part.removeprefix(_ONE)}" if several else part
