"""Server of one model: sends each request to the version that it is for. Pure.

A request without a version choice goes to the default slot, which follows the newest version, or
the alias of FEDBUS_SERVE_ALIAS. For every other choice (`3`, `production`, a tag) a slot is opened
by the first request, which waits until its version is loaded; see `chosen_versions.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from fedbus.core.actions import Action
from fedbus.core.events import Event, Received, Stopping, Woke
from fedbus.text import listed, without_folders
from fedbus.wire.documents import ModelAliases, ModelLatest
from fedbus.wire.messages import AliasMoved, ModelShown, RequestRefused
from fedbus.wire.version_choice import LATEST
from fedbus_inference.announced_versions import is_newer, shows_restoration
from fedbus_inference.canary import CANARY
from fedbus_inference.chosen_versions import ChosenVersions
from fedbus_inference.keys import CanaryRollBack, LookupTimeout, ModelKey, Prediction
from fedbus_inference.last_good import LastGood
from fedbus_inference.local_requests import RefusalKind
from fedbus_inference.model_updater import ModelUpdater, latest_of
from fedbus_inference.prediction import Request
from fedbus_inference.recent_replies import RecentReplies
from fedbus_inference.serving_context import ServingContext
from fedbus_inference.serving_stats import ServingStats
from fedbus_inference.serving_status import ModelStatus, VersionStatus
from fedbus_inference.version_lookup import FoundVersion
from fedbus_inference.version_server import VersionServer
from fedbus_inference.version_trials import CANARY_SLOT, SHADOW_SLOT, VersionTrials

if TYPE_CHECKING:
    from fedbus.wire.blobs import ModelRef

DEFAULT_SLOT = ""
STOPPING = "this replica is stopping; ask again"


class ModelServer:
    """Answers the requests for one model."""

    def __init__(self, model: str, context: ServingContext) -> None:
        self._model = model
        self._context = context
        self._alias = context.settings.serve_alias
        self._aliases: Mapping[str, ModelRef] = {}
        self._changes = -1
        self._ignored_aliases: ModelAliases | None = None  # late, or of a restored repository
        self._latest: ModelLatest | None = None
        self._source = ""
        self._default = self._open(DEFAULT_SLOT)
        if self._alias:
            self._default.updater.problem = (
                f"the model has no alias {self._alias!r}: `fedbus models promote {model} VERSION "
                f"--to {self._alias}`"
            )
        self._chosen = ChosenVersions(model, self._open, context)
        self._trials = VersionTrials(model, self._open, context)

    @property
    def version(self) -> int | None:
        """Return the version that answers requests without a version choice."""
        return self._default.served.version if self._default.served else None

    def announced(self, document: ModelLatest | ModelAliases, now: float) -> Iterator[Action]:
        """Load the newest version, or those that the model's aliases name now."""
        if isinstance(document, ModelLatest):
            is_restored = shows_restoration(document, self._latest)
            if is_newer(document, self._latest):
                self._latest, self._source = document, document.source
            if not self._alias:
                yield from self._default.updater.announced(document, now)
            if is_restored:
                yield from self._repository_restored(now)
        elif document.changes >= self._changes:
            yield from self._aliases_moved(document, now)
        else:
            self._ignored_aliases = document

    def request(self, request: Request, now: float) -> Iterator[Action]:
        """Answer a request, or refuse it with the reason."""
        choice = request.choice
        is_newest = choice == LATEST and not self._alias
        if not choice:
            slot = self._trials.canary_for(request, self._default) or self._default
            yield from slot.request(request, now)
        elif is_newest or choice == self._alias:
            yield from self._default.request(request, now)
        elif choice.isdigit() and int(choice) == self.version:
            yield from self._default.request(request, now, version=self.version)
        else:
            yield from self._choose(request, choice, now)

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Handle an event of this model."""
        match event:
            case Stopping():
                others = self._chosen.slots.values(), self._trials.slots.values()
                for slot in chain((self._default,), *others):
                    refused = slot.refuse_all(RefusalKind.STOPPING, STOPPING, now)
                    yield from self._trials.compared(refused)
            case Received(_, AliasMoved(alias=alias)) if alias == CANARY:
                yield from self._trials.rolled_back()
            case Received(_, ModelShown() as message):
                yield from self._found(self._chosen.lookup.shown(message, now), now)
            case Received(_, RequestRefused() as message):
                yield from self._found(self._chosen.lookup.refused(message, now), now)
                yield from self._trials.refused(message, now)
            case Woke(CanaryRollBack()):
                yield from self._trials.ask_to_roll_back()
            case Woke(LookupTimeout()):
                yield from self._found(self._chosen.lookup.timed_out(now), now)
            case _:
                yield from self._handle_in_slot(event, now)

    def status(self) -> ModelStatus:
        """Return which versions answer, or why none does."""
        found: dict[int, VersionStatus] = {}
        for slot in chain(self._chosen.slots.values(), (self._default,)):
            found |= {each.version: each for each in slot.statuses() if not _is_ready(found, each)}
        versions = tuple(found[version] for version in sorted(found))
        aliases = {name: named.version for name, named in self._aliases.items()}
        if self._latest is not None:
            aliases[LATEST] = self._latest.version
        reason = ""
        if self.version is None:
            problem = without_folders(self._default.updater.problem)
            reason = problem or "the first version is being loaded"
        return ModelStatus(self._model, self.version, versions, reason, aliases)

    def _aliases_moved(self, document: ModelAliases, now: float) -> Iterator[Action]:
        self._changes, self._aliases = document.changes, document.aliases
        self._ignored_aliases = None
        for named in document.aliases.values():
            self._source = named.source
        if self._alias in document.aliases:
            followed = latest_of(document.aliases[self._alias])
            yield from self._default.updater.announced(followed, now)
        yield from self._chosen.aliases_moved(document.aliases, now)
        yield from self._trials.aliases_moved(document.aliases, now)
        yield from self._settle_trials(now)
        self._default.outcomes.keeps_answered = self._trials.is_shadowed

    def _repository_restored(self, now: float) -> Iterator[Action]:
        """Follow the restored aliases, whose changes count again from the backup."""
        self._changes = -1
        if self._ignored_aliases is not None:
            yield from self._aliases_moved(self._ignored_aliases, now)
        yield from self._chosen.repository_restored()

    def _choose(self, request: Request, choice: str, now: float) -> Iterator[Action]:
        known = self._aliases.get(choice)
        ref = None if known is None else latest_of(known)
        if choice == LATEST:
            ref = self._latest
        yield from self._chosen.request(request, choice, ref, self._source, now)

    def _found(self, steps: Iterator[Action | FoundVersion], now: float) -> Iterator[Action]:
        for step in steps:
            if isinstance(step, FoundVersion):
                names = listed(self._aliases) or "none"
                yield from self._chosen.found(step, names, now)
            else:
                yield step

    def _handle_in_slot(self, event: Event, now: float) -> Iterator[Action]:
        key = getattr(event, "key", None)
        name = key.slot if isinstance(key, ModelKey) else DEFAULT_SLOT
        if name in self._trials.slots:
            tried = self._trials.slots[name]
            yield from self._trials.handle(event, tried, now)
            yield from self._settle_trials(now)
            return
        slot = self._default if name == DEFAULT_SLOT else self._chosen.slots.get(name)
        if slot is None:  # it was closed
            if isinstance(key, Prediction):
                self._context.stats.hung.ended(key.number)
            return
        yield from slot.handle(event, now)
        if self._trials.slots:  # what the default slot answers may prove that the canary failed
            yield from self._settle_trials(now)
        if slot.outcomes.answered:
            answered, slot.outcomes.answered = slot.outcomes.answered, []
            yield from self._trials.shadow(answered, now)
        for stray in slot.take_strays():
            # It was for the version before, which now needs a slot of its own.
            yield from self._choose(stray.request, str(stray.version), now)

    def _settle_trials(self, now: float) -> Iterator[Action]:
        """Judge the canary, and answer what it did not."""
        yield from self._take_over(now)
        yield from self._trials.judge(self._default)
        yield from self._take_over(now)  # what waited for a canary that is stopped
        yield from self._trials.close_ended()

    def _take_over(self, now: float) -> Iterator[Action]:
        for queued in self._trials.take_failed():
            self._context.stats.counts["canary_handed_over"] += 1
            yield from self._default.request_again(queued, now)

    def _open(self, name: str) -> VersionServer:
        context = self._context
        if name == SHADOW_SLOT:
            # Its requests are copies: they are no requests of clients.
            context = replace(
                context, stats=ServingStats(context.stats.hung), recent=RecentReplies()
            )
        updater = ModelUpdater(
            self._model,
            context,
            LastGood() if name else context.last_good,
            name,
            may_go_back=bool(name or self._alias),
        )
        is_trial = name in {CANARY_SLOT, SHADOW_SLOT}
        slot = VersionServer(self._model, name, updater, context, is_trial=is_trial)
        slot.outcomes.hands_over = name == CANARY_SLOT
        return slot


def _is_ready(found: Mapping[int, VersionStatus], status: VersionStatus) -> bool:
    known = found.get(status.version)
    return known is not None and known.ready and not status.ready
