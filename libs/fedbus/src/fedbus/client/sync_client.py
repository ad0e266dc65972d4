"""Client without `await`, for notebooks and scripts: `fedbus.connect_sync`.

An event loop of its own runs the asyncio client in a thread, so it works where a loop runs already,
as in Jupyter.
"""

import atexit
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from numpy.typing import ArrayLike

from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client, login_for
from fedbus.client.connection import ANSWER_SECONDS
from fedbus.client.derived_models import LEAST_RELEASED_AGENTS
from fedbus.client.job_files import JobSource
from fedbus.client.job_requests import AWAY_SECONDS
from fedbus.client.loop_thread import LoopThread
from fedbus.client.model_inputs import InputTerms
from fedbus.client.model_names import PAGE_VERSIONS
from fedbus.client.packing import PackedModel
from fedbus.client.results import (
    InferenceResult,
    JobHistory,
    JobNews,
    JobOutcome,
    ModelHistory,
    NodeStatus,
    PulledModel,
    PushedModel,
    StoredModel,
    Submission,
)
from fedbus.client.stored_jobs import RECORDS
from fedbus.client.stored_models import VERSIONS, Progress
from fedbus.errors import BusError
from fedbus.model.first_weights import Init
from fedbus.wire.blobs import ModelRef
from fedbus.wire.documents import JobState
from fedbus.wire.messages import (
    AliasMoved,
    Configuration,
    ConfigurationShown,
    ConfigurationStored,
    JobFileShown,
    JobResult,
    PrivacyShown,
    VersionFacts,
    VersionTagged,
)
from fedbus.wire.messages.model_trail import NameChange

R = TypeVar("R")


def connect_sync(
    url: str | None = None,
    *,
    cluster: str | Path | None = None,
    answer_seconds: float = ANSWER_SECONDS,
) -> "SyncClient":
    """Log in at a broker, for a block or until `close`, or else until the interpreter exits.

        fed = fedbus.connect_sync("mqtt://user:password@host:1883")
        print(fed.jobs())

    Arguments and errors are those of `fedbus.connect`.
    """
    return SyncClient(login_for(url, cluster), answer_seconds=answer_seconds)


class SyncClient:
    """The methods of `fedbus.client.Client`, each of which returns when it is done.

    `fedbus.connect_sync` returns one. Threads may share it. Ctrl-C cancels the method that runs.
    """

    def __init__(self, login: BrokerLogin, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._thread = LoopThread()
        self._client = Client(login, answer_seconds=answer_seconds)
        atexit.register(self.close)
        try:
            self._run(self._client.open())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def login(self) -> BrokerLogin:
        """The broker, and this client's node name there."""
        return self._client.login

    def close(self) -> None:
        """Log out and end the thread; a second call does nothing."""
        atexit.unregister(self.close)
        if not self._thread.stopped:
            self._thread.run(self._client.close())
            self._thread.stop()

    # ── jobs ────────────────────────────────────────────────────────────────────────────────────

    def submit(self, job: JobSource, *, job_id: str | None = None) -> str:
        """Submit a job, and return its id; see `Client.submit`."""
        return self._run(self._client.submit(job, job_id=job_id))

    def submission(self, job: JobSource, *, job_id: str | None = None) -> Submission:
        """Submit a job, and return the controller's whole answer; see `Client.submission`."""
        return self._run(self._client.submission(job, job_id=job_id))

    def watch(
        self, job: str, *, submitted: bool = False, away_seconds: float = AWAY_SECONDS
    ) -> Iterator[JobState]:
        """Yield the states of a job until it has ended; see `Client.watch`."""
        self._check_open()
        return self._thread.iterate(
            self._client.watch(job, submitted=submitted, away_seconds=away_seconds)
        )

    def follow(
        self, job: str, *, submitted: bool = False, away_seconds: float = AWAY_SECONDS
    ) -> Iterator[JobNews]:
        """Yield states, finished rounds and what a job waits for; see `Client.follow`."""
        self._check_open()
        return self._thread.iterate(
            self._client.follow(job, submitted=submitted, away_seconds=away_seconds)
        )

    def cancel(self, job: str) -> None:
        """Cancel a job; see `Client.cancel`."""
        self._run(self._client.cancel(job))

    def forget(self, job: str) -> None:
        """Delete what the broker retains of an ended job; see `Client.forget`."""
        self._run(self._client.forget(job))

    def jobs(self) -> tuple[JobState, ...]:
        """Fetch the states of all jobs; see `Client.jobs`."""
        return self._run(self._client.jobs())

    def job(self, job: str) -> JobHistory:
        """Fetch a job's state and its finished rounds; see `Client.job`."""
        return self._run(self._client.job(job))

    # ── records of jobs ─────────────────────────────────────────────────────────────────────────

    def job_file(self, job: str) -> JobFileShown:
        """Fetch the file of a job; see `Client.job_file`."""
        return self._run(self._client.job_file(job))

    def job_result(self, job: str, *, limit: int | None = None) -> JobOutcome:
        """Fetch what a job has come to, and its rounds; see `Client.job_result`."""
        return self._run(self._client.job_result(job, limit=limit))

    def job_results(self, model: str, *, limit: int | None = RECORDS) -> tuple[JobResult, ...]:
        """Fetch what the jobs of a model have come to; see `Client.job_results`."""
        return self._run(self._client.job_results(model, limit=limit))

    def configurations(
        self, model: str | None = None, *, limit: int | None = RECORDS
    ) -> tuple[Configuration, ...]:
        """Fetch the configurations of a model, or of all; see `Client.configurations`."""
        return self._run(self._client.configurations(model, limit=limit))

    def configuration(self, configuration: str) -> ConfigurationShown:
        """Fetch a configuration; see `Client.configuration`."""
        return self._run(self._client.configuration(configuration))

    def add_configuration(self, job: JobSource) -> ConfigurationStored:
        """Store the configuration of a job file; see `Client.add_configuration`."""
        return self._run(self._client.add_configuration(job))

    # ── nodes ───────────────────────────────────────────────────────────────────────────────────

    def agents(self) -> tuple[NodeStatus, ...]:
        """Fetch what every agent says of itself; see `Client.agents`."""
        return self._run(self._client.agents())

    def nodes(self) -> tuple[NodeStatus, ...]:
        """Fetch what every node says of itself; see `Client.nodes`."""
        return self._run(self._client.nodes())

    # ── models ──────────────────────────────────────────────────────────────────────────────────

    def models(self) -> tuple[StoredModel, ...]:
        """Fetch the latest version of every model; see `Client.models`."""
        return self._run(self._client.models())

    def model(
        self, model: str, version: int | None = None, *, limit: int | None = VERSIONS
    ) -> ModelHistory:
        """Fetch the facts of a version, of those before it, and its spec; see `Client.model`."""
        return self._run(self._client.model(model, version, limit=limit))

    def privacy(self, model: str) -> PrivacyShown:
        """Fetch what each job that trained a model has spent; see `Client.privacy`."""
        return self._run(self._client.privacy(model))

    def pull(
        self,
        model: str,
        version: int | None = None,
        *,
        progress: Progress = lambda _: None,
        key: str | Path | None = None,
    ) -> PulledModel:
        """Fetch a version of a model with its weights; see `Client.pull`."""
        return self._run(self._client.pull(model, version, progress=progress, key=key))

    def fetch(
        self,
        ref: ModelRef,
        *,
        progress: Progress = lambda _: None,
        key: str | Path | None = None,
    ) -> PulledModel:
        """Fetch a version that `models`, `model` or `push` has named; see `Client.fetch`."""
        return self._run(self._client.fetch(ref, progress=progress, key=key))

    def push(  # noqa: PLR0913 - what may be said of a model
        self,
        source: str | Path | PackedModel,
        *,
        weights: str | Path | None = None,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        input_shape: tuple[int, ...] | None = None,
        answers: str | None = None,
        classes: tuple[str, ...] = (),
        local_terms: bool = False,
        inputs: InputTerms | None = None,
        reset: bool = False,
        progress: Progress = lambda _: None,
    ) -> PushedModel:
        """Store a version of a model; see `Client.push`."""
        return self._run(
            self._client.push(
                source,
                weights=weights,
                name=name,
                config=config,
                input_shape=input_shape,
                answers=answers,
                classes=classes,
                local_terms=local_terms,
                inputs=inputs,
                reset=reset,
                progress=progress,
            )
        )

    def create_empty(  # noqa: PLR0913 - as `Client.create_empty`
        self,
        name: str,
        *,
        like: str | None = None,
        layout: str | Path | None = None,
        architectures: Mapping[str, Mapping[str, Any]] | None = None,
        input_shape: tuple[int, ...] | None = None,
        init: Init = "zeros",
        seed: int = 0,
    ) -> PushedModel:
        """Store the first version of a model; see `Client.create_empty`."""
        return self._run(
            self._client.create_empty(
                name,
                like=like,
                layout=layout,
                architectures=architectures,
                input_shape=input_shape,
                init=init,
                seed=seed,
            )
        )

    def release(  # noqa: PLR0913 - as `Client.release`
        self,
        model: str,
        version: int | None = None,
        *,
        key: str | Path,
        reset: bool = False,
        least_agents: int = LEAST_RELEASED_AGENTS,
        progress: Progress = lambda _: None,
    ) -> PushedModel:
        """Store an encrypted version as one that everyone can read; see `Client.release`."""
        return self._run(
            self._client.release(
                model,
                version,
                key=key,
                reset=reset,
                least_agents=least_agents,
                progress=progress,
            )
        )

    def rotate(
        self,
        model: str,
        *,
        old_key: str | Path,
        new_key: str | Path,
        progress: Progress = lambda _: None,
    ) -> PushedModel:
        """Encrypt the newest version of a model with a new key; see `Client.rotate`."""
        call = self._client.rotate(model, old_key=old_key, new_key=new_key, progress=progress)
        return self._run(call)

    # ── tags, aliases, lineage ──────────────────────────────────────────────────────────────────

    def tag(self, model: str, tag: str, *, note: str = "") -> VersionTagged:
        """Add a name to a version of a model; see `Client.tag`."""
        return self._run(self._client.tag(model, tag, note=note))

    def untag(self, model: str, tag: str, *, note: str = "") -> VersionTagged:
        """Remove a tag from the version that has it; see `Client.untag`."""
        return self._run(self._client.untag(model, tag, note=note))

    def promote(
        self, model: str, alias: str, *, expected: int | None = None, note: str = ""
    ) -> AliasMoved:
        """Make an alias of a model name a version; see `Client.promote`."""
        return self._run(self._client.promote(model, alias, expected=expected, note=note))

    def roll_back(
        self, model: str, alias: str, *, expected: int | None = None, note: str = ""
    ) -> AliasMoved:
        """Make an alias name the version before; see `Client.roll_back`."""
        return self._run(self._client.roll_back(model, alias, expected=expected, note=note))

    def remove_alias(self, model: str, alias: str, *, note: str = "") -> AliasMoved:
        """Remove an alias of a model; see `Client.remove_alias`."""
        return self._run(self._client.remove_alias(model, alias, note=note))

    def name_changes(
        self, model: str, name: str | None = None, *, limit: int | None = PAGE_VERSIONS
    ) -> tuple[NameChange, ...]:
        """Fetch who changed tags and aliases of a model; see `Client.name_changes`."""
        return self._run(self._client.name_changes(model, name, limit=limit))

    def ancestors(
        self, model: str, *, limit: int | None = PAGE_VERSIONS
    ) -> tuple[VersionFacts, ...]:
        """Fetch the versions that a version was made from; see `Client.ancestors`."""
        return self._run(self._client.ancestors(model, limit=limit))

    def descendants(
        self, model: str, *, limit: int | None = PAGE_VERSIONS
    ) -> tuple[VersionFacts, ...]:
        """Fetch the versions that were made from a version; see `Client.descendants`."""
        return self._run(self._client.descendants(model, limit=limit))

    def leaves(self, model: str, *, limit: int | None = PAGE_VERSIONS) -> tuple[VersionFacts, ...]:
        """Fetch the versions that no version was made from; see `Client.leaves`."""
        return self._run(self._client.leaves(model, limit=limit))

    # ── inference ───────────────────────────────────────────────────────────────────────────────

    def infer(self, model: str, inputs: ArrayLike) -> InferenceResult:
        """Ask what the newest version of a model answers; see `Client.infer`."""
        return self._run(self._client.infer(model, inputs))

    def infer_encoded(self, model: str, payload: bytes, content_type: str) -> dict[str, Any]:
        """Send a request that is encoded already; see `Client.infer_encoded`."""
        return self._run(self._client.infer_encoded(model, payload, content_type))

    def _run(self, call: Coroutine[Any, Any, R]) -> R:
        try:
            self._check_open()
        except BusError:
            call.close()
            raise
        return self._thread.run(call)

    def _check_open(self) -> None:
        if self._thread.stopped:
            raise BusError(f"{self.login.broker.where}: this client is closed; connect again")
