"""Whom a selector chooses: what somebody's plug-in returns, judged. Pure.

A selector that names enough of the agents that it was given is followed, whatever else it names.
One that names too few is asked again for a while, since agents and their load change; one that
names only agents that are not there is wrong, and waiting would not mend it.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from random import Random

from fedbus.plugins import AgentInfo, Selector
from fedbus.plugins.discovery import error_message
from fedbus.text import listed

SHORT_SECONDS = 60.0
"""How long a selector may name too few."""
MAX_SELECTED_NAMES = 100_000
"""Names taken from a selector, which may be a generator that never ends."""


class InvalidSelection(Exception):  # noqa: N818 - it is the choice that is wrong
    """Asking the selector again would not help."""


class TooFewSelected(Exception):  # noqa: N818 - as above
    """Too few are named this time."""


class CohortSelection:
    """What one job's selector has named, over all its rounds."""

    def __init__(self, name: str, want: int, quorum: int) -> None:
        self._name = name
        self._want, self._quorum = want, quorum
        self._short_since: float | None = None

    def choose(
        self, selector: Selector, agents: Sequence[AgentInfo], rng: Random, now: float
    ) -> tuple[str, ...]:
        """Ask the selector for a cohort.

        Raises:
            TooFewSelected: it named too few; ask again.
            InvalidSelection: it raised, returned no names, or has named too few for too long.
        """
        named = self._named(selector, agents, rng)
        known = {info.agent for info in agents}
        cohort = [agent for agent in named if agent in known][: self._want]
        if len(cohort) >= self._quorum:
            self._short_since = None
            return tuple(cohort)
        strangers = [name for name in named if name not in known]
        said = f"; it named {listed(strangers)}, which it was not given" if strangers else ""
        if strangers and not cohort:
            raise InvalidSelection(self._says(f"chose none of {listed(known)}{said}"))
        short = f"chose {len(cohort)} of {len(known)} agents, {self._quorum} are needed{said}"
        if self._short_since is None:
            self._short_since = now
        if now >= self._short_since + SHORT_SECONDS:
            raise InvalidSelection(self._says(f"{short}; so it was for {SHORT_SECONDS:g} s"))
        raise TooFewSelected(self._says(short))

    def _named(
        self, selector: Selector, agents: Sequence[AgentInfo], rng: Random
    ) -> dict[str, None]:
        try:
            chosen = selector(agents, self._want, rng)
            listable = isinstance(chosen, Iterable) and not isinstance(chosen, str | bytes)
            named = list(islice(chosen, MAX_SELECTED_NAMES)) if listable else []
        except (Exception, SystemExit) as error:
            raise InvalidSelection(f"selector {self._name!r}: {error_message(error)}") from error
        if not listable:
            raise InvalidSelection(self._says(f"returned {chosen!r:.80}, not a list of names"))
        for each in named:
            if not isinstance(each, str):
                hint = "; return info.agent" if isinstance(each, AgentInfo) else ""
                raise InvalidSelection(self._says(f"named {each!r:.80}, not an agent's name{hint}"))
        return dict.fromkeys(named)

    def _says(self, what: str) -> str:
        return f"selector {self._name!r} {what}"
