"""Lookup of versions that are chosen by number or name, at the repository, one at a time. Pure."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fedbus.core.actions import Action, Ask, Cancel, WakeAt
from fedbus.limits import MAX_SHOWN_KEPT
from fedbus.wire.blobs import ModelRef
from fedbus.wire.messages import ModelShown, RequestRefused, ShowModel
from fedbus.wire.refusals import refuses
from fedbus_inference.keys import LookupTimeout, VersionQuestion

_OF_THE_REQUEST: Final = frozenset({"invalid", "unknown", "conflict"})
"""Kinds of refusals that a repetition of the request would get again; all others pass."""
LOOKUP_SECONDS: Final = 5.0
"""How long the repository may take to answer."""
MAX_LOOKUPS: Final = 64
"""Choices of one model that wait for their lookup."""


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """Answer to a lookup: a version, or the reason why there is none.

    `is_final` tells a refusal of the request from the repository's silence, and from a fault of its
    store: the next request asks again after these.
    """

    choice: str
    ref: ModelRef | None
    reason: str = ""
    is_final: bool = True


class VersionLookup:
    """Asks the repository for the versions that requests have chosen."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._waiting: deque[tuple[str, str]] = deque()
        self._asked = ""
        self._question: ShowModel | None = None

    @property
    def is_full(self) -> bool:
        """Return whether no further choice may be looked up now."""
        return len(self._waiting) >= MAX_LOOKUPS

    def start(self, choice: str, repository: str, now: float) -> Iterator[Action]:
        """Look a choice up, now or after those that were chosen before it."""
        if choice != self._asked and all(choice != each for each, _ in self._waiting):
            self._waiting.append((choice, repository))
            yield from self._ask_next(now)

    def shown(self, message: ModelShown, now: float) -> Iterator[Action | FoundVersion]:
        """Take the repository's answer, if it is one to the current question."""
        choice, ref = self._asked, message.version
        named = (message.aliases.get(choice), message.tags.get(choice))
        if choice and (choice == str(ref.version) or ref.version in named):
            kept = {each.version for each in message.kept}
            is_gone = ref.version not in kept and len(message.kept) < MAX_SHOWN_KEPT
            reason = "the repository no longer has its weights" if is_gone else ""
            yield FoundVersion(choice, None if is_gone else ref.whole, reason)
            yield from self._end(now)

    def refused(self, message: RequestRefused, now: float) -> Iterator[Action | FoundVersion]:
        """Take the repository's refusal, if it is one of the current question."""
        if self._asked and refuses(message, self._question):
            is_final = message.kind in _OF_THE_REQUEST
            yield FoundVersion(self._asked, None, message.reason, is_final=is_final)
            yield from self._end(now)

    def timed_out(self, now: float) -> Iterator[Action | FoundVersion]:
        """End a lookup that the repository has not answered."""
        if self._asked:
            reason = f"the repository did not say in {LOOKUP_SECONDS:g} s which version it is"
            yield FoundVersion(self._asked, None, reason, is_final=False)
            yield from self._end(now)

    def _end(self, now: float) -> Iterator[Action]:
        self._asked = ""
        yield Cancel(VersionQuestion(self._model))
        yield Cancel(LookupTimeout(self._model))
        yield from self._ask_next(now)

    def _ask_next(self, now: float) -> Iterator[Action]:
        if self._asked or not self._waiting:
            return
        self._asked, repository = self._waiting.popleft()
        if self._asked.isdigit():
            message = ShowModel(model=self._model, version=int(self._asked), before=1)
        else:
            message = ShowModel(model=self._model, name=self._asked, before=1)
        self._question = message
        yield Ask(VersionQuestion(self._model), repository, message)
        yield WakeAt(LookupTimeout(self._model), now + LOOKUP_SECONDS)
