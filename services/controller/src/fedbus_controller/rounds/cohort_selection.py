"""Selection of a cohort: the result of a selector, checked. Pure.

A selector may name agents that do not exist, as long as it names enough of the agents that it was
given. One that names too few is asked again for a while, since agents and their load change. One
that names unknown agents only is wrong, and asking again would not help.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from random import Random

from fedbus.plugins import AgentInfo, Selector
from fedbus.plugins.discovery import error_message
from fedbus.plugins.isolation import call_isolated
from fedbus.text import listed

TOO_FEW_SECONDS = 60.0
"""Time during which a selector may name too few agents."""
MAX_SELECTED_NAMES = 100_000
"""Names read from a selector, which may be a generator without end."""
SELECTOR_TIMEOUT_SECONDS = 5.0
"""Time limit of a selection. The controller waits for it, so it is shorter than the lease."""


class InvalidSelection(Exception):  # noqa: N818 - names the selection, not the error
    """The selector is wrong; asking it again would not help."""


class TooFewSelected(Exception):  # noqa: N818 - as above
    """The selector named too few agents; it may be asked again."""


class CohortSelection:
    """Calls one job's selector in each round for `want` agents, and checks its result."""

    def __init__(self, name: str, want: int, quorum: int) -> None:
        self._name = name
        self._want, self._quorum = want, quorum
        self._too_few_since: float | None = None

    def select(
        self, selector: Selector, agents: Sequence[AgentInfo], rng: Random, now: float
    ) -> tuple[str, ...]:
        """Return the cohort that the selector names, at most `want` agents.

        Raises:
            TooFewSelected: fewer than `quorum` agents are named; ask again.
            InvalidSelection: the selector raised, returned no names, or named too few agents for
                TOO_FEW_SECONDS.
        """
        named = self._named(selector, agents, rng)
        known = {info.agent for info in agents}
        cohort = [agent for agent in named if agent in known][: self._want]
        if len(cohort) >= self._quorum:
            self._too_few_since = None
            return tuple(cohort)
        unknown = [name for name in named if name not in known]
        hint = f"; it named {listed(unknown)}, which it was not given" if unknown else ""
        if unknown and not cohort:
            raise InvalidSelection(self._with_name(f"chose none of {listed(known)}{hint}"))
        too_few = f"chose {len(cohort)} of {len(known)} agents, {self._quorum} are needed{hint}"
        if self._too_few_since is None:
            self._too_few_since = now
        if now >= self._too_few_since + TOO_FEW_SECONDS:
            raise InvalidSelection(self._with_name(f"{too_few}; for {TOO_FEW_SECONDS:g} s"))
        raise TooFewSelected(self._with_name(too_few))

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
            raise InvalidSelection(self._with_name(f"returned {chosen!r:.80}, not a list of names"))
        for each in named:
            if not isinstance(each, str):
                hint = "; return info.agent" if isinstance(each, AgentInfo) else ""
                raise InvalidSelection(
                    self._with_name(f"named {each!r:.80}, not an agent's name{hint}")
                )
        return dict.fromkeys(named)

    def _with_name(self, what: str) -> str:
        return f"selector {self._name!r} {what}"


class IsolatedSelector:
    """Calls a selector, which may raise any exception or hang, in a thread with a time limit."""

    def __init__(
        self, name: str, selector: Selector, seconds: float = SELECTOR_TIMEOUT_SECONDS
    ) -> None:
        self._name, self._selector, self._seconds = name, selector, seconds

    def __call__(self, agents: Sequence[AgentInfo], want: int, rng: Random, /) -> Sequence[str]:
        """Return the names that the selector returns, up to MAX_SELECTED_NAMES of a generator.

        Raise PluginError if the selector raised, called exit, or exceeded the time limit.
        """

        def select() -> Sequence[str]:
            names = self._selector(agents, want, rng)
            # A generator is read in the thread: its code runs only while it is read.
            return list(islice(names, MAX_SELECTED_NAMES)) if isinstance(names, Iterator) else names

        return call_isolated(f"selector {self._name}", select, self._seconds)
