"""Versions of one model that are tried: a canary that answers, a shadow that is compared. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from fedbus.core.actions import Action, Deliver, Note, Send
from fedbus.core.events import Event
from fedbus.wire.blobs import ModelRef
from fedbus.wire.messages import RollBackAlias
from fedbus_inference.canary import (
    CANARY,
    SHADOW,
    ShadowComparison,
    Tally,
    is_canary_request,
    is_worse,
)
from fedbus_inference.local_requests import LocalPrediction, RefusalKind
from fedbus_inference.model_updater import latest_of
from fedbus_inference.prediction import Answer, Request
from fedbus_inference.serving_context import ServingContext
from fedbus_inference.version_server import VersionServer

CANARY_SLOT, SHADOW_SLOT = f"+{CANARY}", f"+{SHADOW}"
"""Slots with names that no choice can have."""
MAX_COMPARED_BYTES: Final = 2**18
"""Answers are compared in the event loop: larger ones would delay the next requests."""


class VersionTrials:
    """Canary and shadow beside the version that answers requests without a choice.

    Attributes:
        slots: By slot name, each while its alias exists.
    """

    def __init__(
        self, model: str, open_slot: Callable[[str], VersionServer], context: ServingContext
    ) -> None:
        self.slots: dict[str, VersionServer] = {}
        self._model = model
        self._open_slot = open_slot
        self._settings = context.settings
        self._stats = context.stats
        self._refs: dict[str, ModelRef] = {}
        self._blocked: int | None = None
        self._judged: int | None = None
        self._stable_before = Tally()
        self._drawn = 0

    def aliases_moved(self, aliases: Mapping[str, ModelRef], now: float) -> Iterator[Action]:
        """Load the versions that the aliases `canary` and `shadow` name, if they are in use."""
        wanted = {CANARY: self._settings.canary_percent > 0, SHADOW: self._settings.shadow}
        for alias, is_used in wanted.items():
            slot = f"+{alias}"
            if is_used and alias in aliases:
                if slot not in self.slots:
                    self.slots[slot] = self._open_slot(slot)
                self._refs[alias] = aliases[alias]
                yield from self.slots[slot].updater.announced(latest_of(aliases[alias]), now)
            elif self._refs.pop(alias, None) is not None and alias == CANARY:
                self._blocked = None
        if CANARY in self._refs and self._refs[CANARY].version != self._blocked:
            self._blocked = None

    def canary_for(self, request: Request, stable: VersionServer) -> VersionServer | None:
        """Return the canary if it answers this request; None: the stable version does."""
        canary = self.slots.get(CANARY_SLOT)
        if canary is None or canary.served is None or CANARY not in self._refs:
            return None
        version = canary.served.version
        if version == self._blocked or stable.served is None:
            return None
        if version != self._judged:
            self._judged, self._stable_before = version, replace(stable.tally)
        self._drawn += 1
        percent = self._settings.canary_percent
        return canary if is_canary_request(request, percent, self._drawn) else None

    def judge(self, stable: VersionServer) -> Iterator[Action]:
        """Stop a canary that fails too often, and ask the repository to roll its alias back."""
        canary = self.slots.get(CANARY_SLOT)
        if canary is None or canary.served is None or canary.served.version == self._blocked:
            return
        beside = stable.tally
        if beside.requests >= self._stable_before.requests:  # else a newer version answers there
            beside = beside.since(self._stable_before)
        settings = self._settings
        limits = settings.canary_min_requests, settings.canary_error_percent
        if canary.served.version != self._judged or not is_worse(canary.tally, beside, *limits):
            return
        version = self._blocked = canary.served.version
        self._stats.counts["canary_roll_backs"] += 1
        note = (
            f"failed at {canary.tally.failed} of {canary.tally.requests} requests, the version "
            f"beside it at {beside.failed} of {beside.requests}"
        )
        yield Note("canary_rolled_back", {"model": self._model, "version": version, "reason": note})
        message = RollBackAlias(model=self._model, alias=CANARY, expected=version, note=note)
        yield Send(self._refs[CANARY].source, message)

    def shadow(self, answered: list[tuple[Request, Answer]], now: float) -> Iterator[Action]:
        """Have the shadow compute requests that were answered."""
        slot = self.slots.get(SHADOW_SLOT)
        if slot is None or slot.served is None:
            return
        for request, answer in answered:
            if _size_of(answer) > MAX_COMPARED_BYTES:
                self._stats.counts["shadow_skipped"] += 1
                continue
            copy = LocalPrediction(
                self._model,
                ShadowComparison(answer),
                inputs=request.inputs if isinstance(request, LocalPrediction) else None,
                payload=request.payload,
                encoding=request.encoding,
            )
            yield from self.compared(slot.request(copy, now))

    def handle(self, event: Event, slot: VersionServer, now: float) -> Iterator[Action]:
        """Handle an event of a slot of trials."""
        yield from self.compared(slot.handle(event, now))

    def compared(self, actions: Iterator[Action]) -> Iterator[Action]:
        """Take a shadow's answers out of these actions, and count whether they agree."""
        for action in actions:
            if not isinstance(action, Deliver) or not isinstance(action.to, ShadowComparison):
                yield action
            elif action.result.refusal in {None, RefusalKind.FAILED, RefusalKind.INVALID}:
                agrees = action.result.refusal is None and action.to.agrees(action.result)
                self._stats.counts["shadow_agreed" if agrees else "shadow_differed"] += 1
            else:
                self._stats.counts["shadow_skipped"] += 1


def _size_of(answer: Answer) -> int:
    if isinstance(answer, Deliver):
        return sum(array.nbytes for array in answer.result.outputs.values())
    return len(answer.payload)
