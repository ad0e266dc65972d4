"""Announcements, lists and views of model versions and their names. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from fedbus.core.actions import Action, Announce, Note, Send
from fedbus.errors import StoreError
from fedbus.limits import MAX_MESSAGE_BYTES, MAX_SHOWN_KEPT
from fedbus.wire import codec
from fedbus.wire.blobs import ModelRef
from fedbus.wire.documents import ModelAliases, ModelLatest
from fedbus.wire.messages import (
    KeptVersion,
    ListModels,
    ModelShown,
    ModelsListed,
    ShowModel,
    VersionFacts,
)
from fedbus.wire.privacy import public_spent
from fedbus.wire.refusals import refusal_of_request
from fedbus.wire.round_records import public_record
from fedbus.wire.strategies import hides_agents
from fedbus.wire.topics import MODEL_ALIASES, MODEL_LATEST
from fedbus_repository.keys import RequestRun
from fedbus_repository.requests import Call, RequestRunner, RequestSteps
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.damaged_records import DamagedModel
from fedbus_repository.stores.records import ModelView, StoreRefusal, Version
from fedbus_repository.stores.trail_answers import NamedVersions

MAX_LISTED_MODELS = 2_000
MAX_SHOWN_VERSIONS = 200
"""Versions of a model in one answer; fewer if their metrics and strategies do not fit it."""
MAX_SHOWN_BYTES = MAX_MESSAGE_BYTES - 1024
"""An answer without the header of its packet."""


class ModelCatalog:
    """The models of this repository, under its node's name."""

    def __init__(self, name: str, store: Store, requests: RequestRunner) -> None:
        self._name, self._store, self._requests = name, store, requests
        self._announced: dict[str, int] = {}
        self._announced_names: dict[str, int] = {}
        self._damaged: Mapping[str, str] = {}

    def ref(self, version: Version) -> ModelRef:
        """Return the reference to a version, with this node as its source."""
        return ModelRef(
            model=version.model,
            version=version.version,
            weights=version.weights,
            spec=version.spec,
            source=self._name,
            encryption=version.encryption,
            thin=version.thin,
        )

    def announce(self, version: Version) -> Iterator[Action]:
        """Announce a version unless a later one is announced: a thread may overtake another."""
        if version.version >= self._announced.get(version.model, 0):
            self._announced[version.model] = version.version
            yield Announce(MODEL_LATEST, self._latest(version))

    def stored(self, version: Version) -> Iterator[Action]:
        """Announce the version that a request stored, and log it unless it was announced before."""
        if version.version > self._announced.get(version.model, 0):
            facts = {"model": version.model, "version": version.version}
            yield Note("version_made", {**facts, "job": version.job, "round": version.round})
        yield from self.announce(version)

    def evaluated(self, version: Version) -> Iterator[Action]:
        """Announce a version again after its evaluation, if it is the latest."""
        if version.version == self._announced.get(version.model):
            yield Announce(MODEL_LATEST, self._latest(version))

    def named(self, found: NamedVersions) -> Iterator[Action]:
        """Announce tags and aliases unless later ones are announced; log a change once."""
        names, announced = found.names, self._announced_names.get(found.names.model, 0)
        for change in names.last.values():
            if change.number == names.changes > announced:
                facts = {"model": names.model, "name": change.name, "change": change.kind}
                versions = {"version": change.version, "replaced": change.replaced}
                yield Note("version_named", {**facts, **versions, "by": change.by})
        yield from self._announce_names(found)

    def announce_all(self) -> Iterator[Action]:
        """Announce the latest version of every model, and the names of its versions.

        Where the latest version of a model is damaged, no version of it is announced: the one
        before would be served, and trained, in its place. Where its names are, no names are. The
        other of both is announced, and the damage is reported.
        """
        yield from self._requests.start(RequestRun("announce", self._name), None, self._all())

    def handle(self, sender: str, message: ListModels | ShowModel) -> Iterator[Action]:
        """Answer a request for the list of models or for one model."""
        if isinstance(message, ListModels):
            key = RequestRun.of(message, sender)
            yield from self._requests.start(key, message, self._list(sender))
        else:
            about = (message.model, message.version, message.name, message.record)
            key = RequestRun.of(message, sender, *about)
            yield from self._requests.start(key, message, self._show(sender, message))

    def _all(self) -> RequestSteps:
        found = yield Call(self._read_all)
        actions: list[Action] = []
        damaged: dict[str, str] = {}
        for model, each in found:
            if isinstance(each, DamagedModel):
                damaged[model] = each.reason
            elif isinstance(each, Version):
                actions += self.announce(each)
            else:
                actions += self._announce_names(each)
        return [*actions, *self._report_damage(damaged)]

    def _read_all(self) -> list[tuple[str, Version | NamedVersions | DamagedModel]]:
        """Read all that is announced, by model; called in a thread."""
        latest, named = self._store.latest_or_damage(), self._store.named_versions()
        return [*latest.items(), *named.items()]

    def _report_damage(self, damaged: Mapping[str, str]) -> Iterator[Action]:
        """Log each damaged model once, and report the first while there is one."""
        for model, reason in damaged.items():
            if self._damaged.get(model) != reason:
                yield Note("model_not_announced", {"model": model, "reason": reason})
        self._damaged = damaged
        reasons = (f"model {model!r} is not announced: {each}" for model, each in damaged.items())
        yield from self._requests.report_damage(next(reasons, ""))

    def _announce_names(self, found: NamedVersions) -> Iterator[Action]:
        names = found.names
        if names.changes < self._announced_names.get(names.model, 0):
            return
        self._announced_names[names.model] = names.changes
        aliases = {alias: self.ref(version) for alias, version in found.aliased.items()}
        document = ModelAliases(
            model=names.model, aliases=aliases, changes=names.changes, tags=names.tags
        )
        yield Announce(MODEL_ALIASES, document)

    def _list(self, sender: str) -> RequestSteps:
        try:
            versions = yield Call(self._store.latest)
        except StoreError as error:
            return (
                Send(sender, refusal_of_request(ListModels(), "models", str(error), error.fault)),
            )
        models = tuple(self.ref(version) for version in versions[:MAX_LISTED_MODELS])
        made = {version.model: version.at for version in versions[:MAX_LISTED_MODELS] if version.at}
        return (Send(sender, ModelsListed(models=models, made=made)),)

    def _show(self, sender: str, message: ShowModel) -> RequestSteps:
        try:
            show = partial(
                self._store.show,
                message.model,
                message.version,
                MAX_SHOWN_VERSIONS,
                message.before,
                name=message.name,
            )
            found = yield Call(show)
            record = None
            if message.record and isinstance(found, ModelView):
                record = yield Call(partial(self._store.record, found.version))
        except StoreError as error:
            found = StoreRefusal(str(error), kind=error.fault)
        if isinstance(found, StoreRefusal):
            return (
                Send(sender, refusal_of_request(message, message.model, found.reason, found.kind)),
            )
        shown = ModelShown(
            version=self.ref(found.version),
            history=tuple(version_facts(each) for each in found.history),
            versions=found.versions,
            kept=tuple(KeptVersion(version=v, why=why) for v, why in found.kept[:MAX_SHOWN_KEPT]),
            best=found.best,
            record=None if record is None else public_record(record),
            aliases=dict(found.aliases),
            tags=dict(found.tags),
        )
        return (Send(sender, _fitting(shown)),)

    def _latest(self, version: Version) -> ModelLatest:
        return ModelLatest(
            model=version.model,
            version=version.version,
            digest=version.weights.digest,
            size=version.weights.size,
            spec=version.spec,
            source=self._name,
            metrics=version.metrics,
            parent=version.parent,
            job=version.job,
            round=version.round,
            at=version.at,
            privacy=public_spent(version.privacy),
            encryption=version.encryption,
        )


def _fitting(shown: ModelShown) -> ModelShown:
    """Halve the history until the answer fits a message; the rest can be asked for.

    A record that fits a message only without anything beside it is left out.
    """
    while shown.history and len(codec.pack(shown)) > MAX_SHOWN_BYTES:
        shown = replace(shown, history=shown.history[: len(shown.history) // 2])
    return shown if len(codec.pack(shown)) <= MAX_SHOWN_BYTES else replace(shown, record=None)


def version_facts(version: Version) -> VersionFacts:
    """Return what users may read of a version."""
    hidden = hides_agents(version.strategy) or version.privacy is not None
    return VersionFacts(
        version=version.version,
        parent=version.parent,
        weights=version.weights,
        job=version.job,
        round=version.round,
        contributors=0 if hidden else version.contributors,
        metrics=version.metrics,
        kept=version.kept,
        at=version.at,
        strategy=version.strategy,
        privacy=public_spent(version.privacy),
        encryption=version.encryption,
        derived=version.derived,
        base=version.base,
    )
