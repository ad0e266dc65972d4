"""Versions of one model that are tried: a canary that answers, a shadow that is compared. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from fedbus.core.actions import Action, Ask, Cancel, Deliver, Note, WakeAt
from fedbus.core.events import Event
from fedbus.wire.blobs import ModelRef
from fedbus.wire.messages import RequestRefused, RollBackAlias
from fedbus.wire.refusals import refuses
from fedbus_inference import keys
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
from fedbus_inference.prediction_queue import QueuedRequest
from fedbus_inference.serving_context import ServingContext
from fedbus_inference.version_server import VersionServer

CANARY_SLOT, SHADOW_SLOT = f"+{CANARY}", f"+{SHADOW}"
"""Slots with names that no choice can have."""
NumberAndDigest: TypeAlias = tuple[int, str]
"""A version's number and the digest of its weights: a restored store gives numbers again."""
REFUSED_SECONDS: Final = 60.0
"""Time after which the repository is asked again for a roll-back that it has refused."""
MAX_COMPARED_BYTES: Final = 2**18
"""Answers are compared in the event loop: larger ones would delay the next requests."""


class VersionTrials:
    """Canary and shadow beside the version that answers requests without a choice.

    Attributes:
        slots: By slot name, each while its alias exists, and until it is idle.
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
        self._roll_back: RollBackAlias | None = None  # of the canary that is stopped
        self._stopped: NumberAndDigest | None = None  # that canary
        self._judged: NumberAndDigest | None = None
        self._stable_before = Tally()
        self._drawn = 0

    @property
    def is_shadowed(self) -> bool:
        """Return whether answers are compared with a shadow's."""
        return SHADOW in self._refs

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
            elif self._refs.pop(alias, None) is not None:
                yield from self._end_trial(self.slots[slot], now)
        if self._roll_back is not None and self._named_canary() != self._stopped:
            self._roll_back = None
            yield from self.rolled_back()

    def canary_for(self, request: Request, stable: VersionServer) -> VersionServer | None:
        """Return the canary if it answers this request; None: the stable version does."""
        canary = self._canary()
        if canary is None or stable.served is None:
            return None
        if self._judged != self._named_canary():
            self._judged, self._stable_before = self._named_canary(), replace(stable.tally)
        self._drawn += 1
        percent = self._settings.canary_percent
        return canary if is_canary_request(request, percent, self._drawn) else None

    def judge(self, stable: VersionServer) -> Iterator[Action]:
        """Stop a canary that fails too often, and have the repository roll its alias back.

        It is asked until the alias names another version, or none.
        """
        canary = self._canary()
        if canary is None:
            return
        beside = stable.tally
        if beside.requests >= self._stable_before.requests:  # else a newer version answers there
            beside = beside.since(self._stable_before)
        settings = self._settings
        limits = settings.canary_min_requests, settings.canary_error_percent
        named, version = self._named_canary(), self._refs[CANARY].version
        if named != self._judged or not is_worse(canary.tally, beside, *limits):
            return
        canary.hand_over_queue()
        self._stats.counts["canary_roll_backs"] += 1
        note = (
            f"failed at {canary.tally.failed} of {canary.tally.requests} requests, the version "
            f"beside it at {beside.failed} of {beside.requests}"
        )
        yield Note("canary_rolled_back", {"model": self._model, "version": version, "reason": note})
        self._stopped = named
        self._roll_back = RollBackAlias(
            model=self._model, alias=CANARY, expected=version, note=note, or_remove=True
        )
        yield from self.ask_to_roll_back()

    def ask_to_roll_back(self) -> Iterator[Action]:
        """Ask the repository to roll the alias of the stopped canary back, unless it is."""
        if self._roll_back is not None:
            key = keys.CanaryRollBack(self._model)
            yield Ask(key, self._refs[CANARY].source, self._roll_back)

    def rolled_back(self) -> Iterator[Action]:
        """End the request to roll the alias back: it was, or it names another version."""
        yield Cancel(keys.CanaryRollBack(self._model))

    def refused(self, message: RequestRefused, now: float) -> Iterator[Action]:
        """Ask again later if this refuses the roll-back: the store may be full, or not reached."""
        asked = self._roll_back
        if asked is None or not refuses(message, asked):
            return
        facts = {"model": self._model, "version": asked.expected, "reason": message.reason}
        yield Note("canary_not_rolled_back", facts)
        key = keys.CanaryRollBack(self._model)
        yield Cancel(key)
        yield WakeAt(key, now + REFUSED_SECONDS)

    def take_failed(self) -> list[QueuedRequest]:
        """Remove and return the requests that the version beside the canary must answer."""
        canary = self.slots.get(CANARY_SLOT)
        if canary is None:
            return []
        failed, canary.outcomes.failed = canary.outcomes.failed, []
        return failed

    def close_ended(self) -> Iterator[Action]:
        """Close the idle slots of aliases that are removed; a batch that hangs is given up."""
        for name, slot in list(self.slots.items()):
            is_ended = name.removeprefix("+") not in self._refs
            if is_ended and (yield from slot.become_idle()):
                del self.slots[name]
                yield from slot.close()

    def shadow(self, answered: list[tuple[Request, Answer]], now: float) -> Iterator[Action]:
        """Have the shadow compute requests that were answered."""
        slot = self.slots.get(SHADOW_SLOT)
        if slot is None or slot.served is None or not self.is_shadowed:
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

    def _named_canary(self) -> NumberAndDigest | None:
        ref = self._refs.get(CANARY)
        return None if ref is None else (ref.version, ref.weights.digest)

    def _canary(self) -> VersionServer | None:
        """Return the slot of the version that the alias names, if it may answer."""
        canary, named = self.slots.get(CANARY_SLOT), self._named_canary()
        if canary is None or canary.served is None:
            return None
        if (canary.served.version, canary.served.weights_digest) != named:
            return None
        return canary if self._roll_back is None else None

    def _end_trial(self, slot: VersionServer, now: float) -> Iterator[Action]:
        """Take the requests out of the slot of an alias that is removed."""
        if slot.outcomes.hands_over:
            slot.hand_over_queue()
            self._judged = None
        else:
            sentence = "the alias is removed"
            yield from self.compared(slot.refuse_all(RefusalKind.STOPPING, sentence, now))


def _size_of(answer: Answer) -> int:
    if isinstance(answer, Deliver):
        return sum(array.nbytes for array in answer.result.outputs.values())
    return len(answer.payload)
