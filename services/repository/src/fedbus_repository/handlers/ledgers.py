"""Requests about ledgers: entries of collectors, and what was spent on a model. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from fedbus.core.actions import Action, Note, Send
from fedbus.errors import StoreError
from fedbus.limits import MAX_COHORT_AGENTS, MAX_MESSAGE_BYTES
from fedbus.wire import codec
from fedbus.wire.messages import (
    JobLoaded,
    NoiseRecorded,
    NoiseRefused,
    PlanRefused,
    PrivacyShown,
    RecordNoise,
    ShowPrivacy,
)
from fedbus.wire.privacy import public_spent
from fedbus.wire.refusals import refusal_of_request
from fedbus_repository.keys import RequestRun
from fedbus_repository.requests import Call, RequestRunner, RequestSteps
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.ledger_records import JobLedger, PlanRefusal
from fedbus_repository.stores.model_epsilon import model_spent
from fedbus_repository.stores.records import StoreRefusal

MAX_SHOWN_JOBS = 1_000
"""Jobs in one answer, the newest; the sums are those of all."""
MAX_ANSWER_BYTES = MAX_MESSAGE_BYTES - 1024
"""An answer without the header of its packet."""


class LedgerHandler:
    """Handles ledger entries, and the question of users what was spent."""

    def __init__(self, store: Store, requests: RequestRunner) -> None:
        self._store, self._requests = store, requests

    def record_noise(self, sender: str, message: RecordNoise) -> Iterator[Action]:
        """Store a ledger entry, then answer: noise is drawn only once its entry is durable."""
        entry = message.entry
        key = RequestRun.of(message, sender, entry.job, entry.task, entry.updates)
        yield from self._requests.start(key, message, self._record_noise(sender, message))

    def show_privacy(self, sender: str, message: ShowPrivacy) -> Iterator[Action]:
        """Answer what jobs have spent on a model."""
        key = RequestRun.of(message, sender, message.model)
        yield from self._requests.start(key, message, self._show(sender, message))

    def _record_noise(self, sender: str, message: RecordNoise) -> RequestSteps:
        entry = message.entry
        answer = yield Call(partial(self._store.record_noise, entry))
        if isinstance(answer, StoreRefusal):
            refused = NoiseRefused(
                job=entry.job, task=entry.task, reason=answer.reason, updates=entry.updates
            )
            facts = {"job": entry.job, "task": entry.task, "reason": answer.reason}
            return Note("noise_refused", facts), Send(sender, refused)
        recorded = NoiseRecorded(
            job=entry.job,
            task=entry.task,
            spent=answer.spent,
            updates=entry.updates,
            steps=answer.steps,
        )
        return (Send(sender, recorded),)

    def _show(self, sender: str, message: ShowPrivacy) -> RequestSteps:
        try:
            found = yield Call(partial(self._store.model_privacy, message.model))
        except StoreError as error:
            found = StoreRefusal(str(error), kind=error.fault)
        if isinstance(found, StoreRefusal):
            return (
                Send(sender, refusal_of_request(message, message.model, found.reason, found.kind)),
            )
        epsilon, delta = model_spent(found.jobs)
        shown = PrivacyShown(
            model=message.model,
            version=found.version,
            jobs=tuple(
                replace(each, spent=public_spent(each.spent))
                for each in found.jobs[-MAX_SHOWN_JOBS:]
            ),
            epsilon=epsilon,
            delta=delta,
        )
        return (Send(sender, shown),)


def plan_refused(job: str, task: int, refusal: PlanRefusal) -> PlanRefused:
    """Return the answer to a plan that breaks its job's terms, with what has room of the ledger."""
    answer = PlanRefused(
        job=job,
        task=task,
        kind=refusal.kind,
        reason=refusal.reason,
        entries=refusal.ledger.entries,
    )
    most = _most_participations(answer, refusal.ledger)
    return replace(answer, participations=refusal.ledger.participations[:most])


def with_ledger(loaded: JobLoaded, ledger: JobLedger) -> JobLoaded:
    """Add what a job has spent, and as much of what its ledger says about agents as has room."""
    loaded = replace(loaded, privacy=ledger.spent)
    most = _most_participations(loaded, ledger)
    return replace(loaded, participations=ledger.participations[:most])


def _most_participations(answer: JobLoaded | PlanRefused, ledger: JobLedger) -> int:
    """Return how many participations, from the first, fit a message beside an answer's rest."""
    room = MAX_ANSWER_BYTES - len(codec.pack(answer))
    for number, each in enumerate(ledger.participations[:MAX_COHORT_AGENTS]):
        room -= len(codec.pack(each))
        if room < 0:
            return number
    return MAX_COHORT_AGENTS
