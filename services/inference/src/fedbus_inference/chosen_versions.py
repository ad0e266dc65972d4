"""Versions that requests choose: opened on demand, bounded, the least recently used closed. Pure.

A slot has the name of its choice: `3` for a version, or the name of an alias or a tag. A slot of an
alias follows it; which version a tag names is asked again after `TAG_SECONDS`.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final

from fedbus.core.actions import Action
from fedbus.wire.blobs import ModelRef
from fedbus.wire.documents import ModelLatest
from fedbus_inference.local_requests import RefusalKind
from fedbus_inference.model_updater import latest_of
from fedbus_inference.prediction import Request
from fedbus_inference.prediction_queue import QueuedRequest
from fedbus_inference.serving_context import ServingContext
from fedbus_inference.version_lookup import FoundVersion, VersionLookup
from fedbus_inference.version_server import VersionServer

TAG_SECONDS: Final = 30.0
"""Time after which a request to a tag asks which version it names now."""
REFUSED_SECONDS: Final = 5.0
"""Time for which the repository is not asked again for a version that it does not have."""
MAX_REFUSED: Final = 64


class ChosenVersions:
    """Slots of the versions of one model that requests choose.

    Attributes:
        slots: By choice, the least recently used first.
        lookup: Finds versions that are not known here.
    """

    def __init__(
        self, model: str, open_slot: Callable[[str], VersionServer], context: ServingContext
    ) -> None:
        self.slots: dict[str, VersionServer] = {}
        self.lookup = VersionLookup(model)
        self._model = model
        self._open_slot = open_slot
        self._settings = context.settings
        self._hung = context.stats.hung
        self._refs: dict[str, ModelLatest] = {}
        self._looked_up: dict[str, float] = {}
        self._refused: dict[str, tuple[float, str]] = {}

    def request(
        self, request: Request, choice: str, ref: ModelLatest | None, repository: str, now: float
    ) -> Iterator[Action]:
        """Answer a request by the version of its choice; `ref`: which one, if it is known.

        `repository` is the node that is asked if it is not.
        """
        slot = self.slots.pop(choice, None)
        if slot is None:
            if ref is None and not repository:
                reason = "no repository has announced a version of this model"
                yield self._refuse(request, choice, RefusalKind.NOT_FOUND, reason, now)
                return
            if self._is_refused(choice, now):
                _, reason = self._refused[choice]
                yield self._refuse(request, choice, RefusalKind.NOT_FOUND, reason, now)
                return
            if self.lookup.is_full or not (yield from self._make_room(0)):
                busy = f"{len(self.slots)} chosen versions are busy; ask again in a moment"
                reason = self._hung.problem or busy
                yield self._refuse(request, choice, RefusalKind.OVERLOADED, reason, now)
                return
            slot = self._open_slot(choice)
            slot.updater.awaits_version = True
        self.slots[choice] = slot  # as the most recently used
        yield from slot.request(request, now)
        if ref is not None:
            yield from self._load(choice, ref, now)
        elif choice not in self._looked_up or self._is_stale(choice, now):
            self._looked_up[choice] = now
            yield from self.lookup.start(choice, repository, now)

    def aliases_moved(self, aliases: Mapping[str, ModelRef], now: float) -> Iterator[Action]:
        """Follow aliases with their open slots."""
        for alias in [name for name in self.slots if name in aliases]:
            yield from self._load(alias, latest_of(aliases[alias]), now)

    def repository_restored(self) -> Iterator[Action]:
        """Look versions and tags up again: what they name may have other content.

        Idle slots are closed; one that answers now is looked up again at its next request. Slots of
        aliases follow these.
        """
        for choice in [name for name in self.slots if name in self._looked_up]:
            if (yield from self.slots[choice].become_idle()):
                yield from self._close(choice)
        self._looked_up.clear()

    def found(self, found: FoundVersion, aliases: str, now: float) -> Iterator[Action]:
        """Load the version that a lookup has found, or refuse the requests that wait for it."""
        slot = self.slots.get(found.choice)
        if slot is None:
            return
        if found.ref is not None:
            yield from self._load(found.choice, latest_of(found.ref), now)
        elif found.is_final and slot.served is None:
            reason = f"{found.reason} (aliases: {aliases})"
            yield from self._give_up(found.choice, RefusalKind.NOT_FOUND, reason, now)
            self._refused = {k: v for k, v in self._refused.items() if v[0] > now}
            if len(self._refused) < MAX_REFUSED:
                self._refused[found.choice] = now + REFUSED_SECONDS, reason
        elif slot.served is None:
            yield from self._give_up(found.choice, RefusalKind.LOADING, found.reason, now)

    def _load(self, choice: str, ref: ModelLatest, now: float) -> Iterator[Action]:
        if self._refs.get(choice) == ref:
            return
        limit = self._settings.max_chosen_bytes
        if ref.size > limit:
            reason = (
                f"version {ref.version} has {ref.size} bytes of weights, and chosen versions may "
                f"have {limit} together (FEDBUS_MAX_CHOSEN_MB)"
            )
            yield from self._give_up(choice, RefusalKind.NOT_FOUND, reason, now)
        elif not (yield from self._make_room(ref.size, choice)):
            busy = "the memory for chosen versions is in use; ask again in a moment"
            reason = self._hung.problem or busy
            yield from self._give_up(choice, RefusalKind.OVERLOADED, reason, now)
        else:
            self._refs[choice] = ref
            yield from self.slots[choice].updater.announced(ref, now)

    def _make_room(self, size: int, choice: str = "") -> Generator[Action, None, bool]:
        """Close idle slots until one of this size fits beside the others; return whether it does.

        A slot whose prediction hangs is idle once no client waits for it.
        `choice` is the slot that is to be loaded, if it is open already.
        """
        for name in list(self.slots):
            if self._has_room(size, choice):
                return True
            if name != choice and (yield from self.slots[name].become_idle()):
                yield from self._close(name)
        return self._has_room(size, choice)

    def _has_room(self, size: int, choice: str) -> bool:
        others = [name for name in self.slots if name != choice]
        used = sum(self._refs[name].size for name in others if name in self._refs)
        return (
            len(others) < self._settings.max_chosen_versions
            and used + size <= self._settings.max_chosen_bytes
        )

    def _give_up(self, choice: str, kind: RefusalKind, reason: str, now: float) -> Iterator[Action]:
        slot = self.slots[choice]
        yield from slot.refuse_all(kind, self._sentence(choice, reason), now)
        if slot.served is None:
            yield from self._close(choice)

    def _close(self, choice: str) -> Iterator[Action]:
        yield from self.slots.pop(choice).close()
        self._refs.pop(choice, None)
        self._looked_up.pop(choice, None)

    def _is_stale(self, choice: str, now: float) -> bool:
        return not choice.isdigit() and now >= self._looked_up[choice] + TAG_SECONDS

    def _is_refused(self, choice: str, now: float) -> bool:
        return choice in self._refused and now < self._refused[choice][0]

    def _sentence(self, choice: str, reason: str) -> str:
        return f"{self._model}@{choice}: {reason}"

    def _refuse(
        self, request: Request, choice: str, kind: RefusalKind, reason: str, now: float
    ) -> Action:
        slot = self._open_slot(choice)
        return slot.outcomes.refuse(
            QueuedRequest(request, now, now), kind, self._sentence(choice, reason), now
        )
