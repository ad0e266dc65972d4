"""Asyncio client of a fedbus deployment: `fedbus.connect`."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from numpy.typing import ArrayLike

from fedbus.client import (
    inference,
    job_requests,
    model_names,
    nodes,
    stored_jobs,
    stored_models,
)
from fedbus.client.address import BrokerLogin, find_login
from fedbus.client.connection import ANSWER_SECONDS, ClientConnection
from fedbus.client.derived_models import (
    LEAST_RELEASED_AGENTS,
    check_encrypted,
    check_old_key,
    released,
    rotated,
    who_holds_the_key,
)
from fedbus.client.job_files import JobSource, job_content, job_payload
from fedbus.client.job_requests import AWAY_SECONDS
from fedbus.client.model_inputs import InputTerms
from fedbus.client.model_names import PAGE_VERSIONS
from fedbus.client.names import configuration_name, model_name, version_choice, version_name
from fedbus.client.names import job_id as checked_job
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
from fedbus.encryption.key_files import SecretKey
from fedbus.errors import SettingsError
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
from fedbus.wire.version_choice import VersionChoice


@asynccontextmanager
async def connect(
    url: str | None = None,
    *,
    cluster: str | Path | None = None,
    answer_seconds: float = ANSWER_SECONDS,
) -> AsyncIterator["Client"]:
    """Log in at a broker for the length of a block.

        async with fedbus.connect("mqtt://user:password@host:1883") as fed:
            print(await fed.jobs())

    Args:
        url: `mqtt://user:password@host:port`, or `mqtts://` with TLS (`?ca_file=PATH` names a
            certificate authority). By default FEDBUS_BROKER, or else the local cluster that was
            started last, as for the `fedbus` command.
        cluster: The folder of a local cluster, as `fedbus up --cluster` has it, instead of a URL.
        answer_seconds: How long to wait for the answer of a service; blobs have their own limit,
            60 s without progress.

    Raises:
        SettingsError: the URL cannot be read, or both a URL and a cluster are given.
        Unreachable: no URL is given and no local cluster runs.
        BusError: the broker is unreachable, or refuses the account.
    """
    async with Client(login_for(url, cluster), answer_seconds=answer_seconds) as client:
        await client.open()
        yield client


def login_for(url: str | None, cluster: str | Path | None) -> BrokerLogin:
    """Find the broker that the arguments of `connect` name.

    Raises:
        SettingsError: the URL cannot be read, or both are given.
        Unreachable: neither is given and no local cluster runs.
    """
    if url is not None and cluster is not None:
        raise SettingsError("expected a URL or a cluster, got both; leave one out")
    environ = os.environ if url is None else {**os.environ, "FEDBUS_BROKER": url}
    return find_login(environ, None if cluster is None else Path(cluster).resolve())


class Client:
    """Jobs, agents, models and inference of one deployment, over one MQTT connection.

    `fedbus.connect` returns one. Methods may run at the same time; clients of one account share a
    connection. Where it breaks, each method connects again and repeats its request, and raises
    BusError if the broker is unreachable; `watch` and `follow` wait for the broker to come back.
    A name that no job or model can have raises SettingsError before any request.
    """

    def __init__(
        self,
        login: BrokerLogin,
        tell: Callable[[str], None] = lambda _: None,
        *,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.connection = ClientConnection(login, tell, answer_seconds)
        self._submitted: set[str] = set()

    @property
    def login(self) -> BrokerLogin:
        """The broker, and this client's node name there."""
        return self.connection.login

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Log in now instead of with the first method that is called.

        Raises:
            BusError: the broker is unreachable, or refuses the account.
        """
        await self.connection.open()

    async def close(self) -> None:
        """Log out; methods that still run raise BusError."""
        await self.connection.close()

    # ── jobs ────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, job: JobSource, *, job_id: str | None = None) -> str:
        """Submit a job, and return its id.

            job = await fed.submit({"model_name": "digits", "num_rounds": 5})

        The same job under the same id may be submitted again: it is the same job still, running or
        over.

        Args:
            job: The keys of a job file (docs/job-file.md), the path of one, or its JSON text; at
                most 256 KiB.
            job_id: The id, instead of the file's `training_id`; one is made where neither is given.

        Raises:
            JobRefused: the controller found faults; `faults` has each with its key.
            SettingsError: the job is no JSON, or cannot be read.
            Unreachable: no controller answered; says whether the broker keeps the request.
        """
        return (await self.submission(job, job_id=job_id)).job

    async def submission(self, job: JobSource, *, job_id: str | None = None) -> Submission:
        """Submit a job as `submit` does, and return the controller's whole answer.

            answer = await fed.submission("job.json")
            print(answer.job, answer.known, answer.warnings)

        Raises:
            JobRefused, SettingsError, Unreachable: as `submit`.
        """
        answer = await job_requests.submit(self.connection, job_payload(job, job_id))
        self._submitted.add(answer.job)
        return answer

    async def watch(
        self, job: str, *, submitted: bool = False, away_seconds: float = AWAY_SECONDS
    ) -> AsyncGenerator[JobState, None]:
        """Yield the states of a job until it has ended; the last one is how it ended.

            async for state in fed.watch(job):
                print(state.phase, state.round, state.metrics)

        The first is where the job stands now. A broker that restarts is waited for.

        Args:
            job: The job's id.
            submitted: Whether another client has just submitted it, so that it need not be known
                yet; a job that this client submitted is waited for anyway.
            away_seconds: How long the broker may be offline before BusError is raised, and, once it
                is online again, lack the state of the job before Refused is raised.

        Raises:
            Refused: no such job is known.
            BusError: the broker was unreachable for too long.
        """
        last: JobState | None = None
        following = self.follow(job, submitted=submitted, away_seconds=away_seconds)
        async with aclosing(following) as news:
            async for each in news:
                if isinstance(each, JobState) and each != last:
                    last = each
                    yield each

    def follow(
        self, job: str, *, submitted: bool = False, away_seconds: float = AWAY_SECONDS
    ) -> AsyncGenerator[JobNews, None]:
        """Yield the states of a job, its finished rounds, and what it waits for, until it ended.

            async for news in fed.follow(job):
                match news:
                    case fedbus.client.RoundState(round=number, metrics=metrics):
                        print(number, metrics)

        After a lost connection the broker repeats what it retains, and so does this iterator.

        Args:
            job: The job's id.
            submitted: As for `watch`.
            away_seconds: As for `watch`.

        Raises:
            Refused, BusError: as `watch`.
        """
        known = checked_job(job) in self._submitted or submitted
        return job_requests.follow(self.connection, job, submitted=known, away_seconds=away_seconds)

    async def cancel(self, job: str) -> None:
        """Cancel a job; the versions that it committed stay.

            await fed.cancel("first")

        Raises:
            Refused: no such job is known, or it has ended.
            Unreachable: no controller answered; says whether the broker keeps the request.
        """
        await job_requests.cancel(self.connection, checked_job(job))

    async def forget(self, job: str) -> None:
        """Delete what the broker retains of an ended job; its versions stay.

            await fed.forget("first")

        Raises:
            Refused: no such job is known, or it has not ended.
            Unreachable: no controller answered.
        """
        await job_requests.forget(self.connection, checked_job(job))

    async def jobs(self) -> tuple[JobState, ...]:
        """Fetch the states of all jobs of the last 30 days, the newest last.

            running = [state.job for state in await fed.jobs() if state.phase == "running"]

        Raises:
            BusError: the connection is lost.
        """
        return await job_requests.jobs(self.connection)

    async def job(self, job: str) -> JobHistory:
        """Fetch a job's state and its finished rounds.

            for done in (await fed.job("first")).rounds:
                print(done.round, done.metrics, done.contributors)

        Raises:
            Refused: no such job is known.
        """
        return await job_requests.job(self.connection, checked_job(job))

    # ── records of jobs ─────────────────────────────────────────────────────────────────────────

    async def job_file(self, job: str) -> JobFileShown:
        """Fetch the file of a job as it was submitted, and the id of its configuration.

            shown = await fed.job_file("first")
            print(shown.configuration, shown.file.decode())

        Raises:
            Refused: the repository has no such job.
            Unreachable: the repository did not answer.
        """
        return await stored_jobs.job_file(self.connection, checked_job(job))

    async def job_result(self, job: str, *, limit: int | None = None) -> JobOutcome:
        """Fetch what a job has come to, and its rounds, from the repository's records.

            report = await fed.job_result("first")
            print(report.result.metrics, [each.metrics for each in report.rounds])
            json.dump(report.record, file)

        `job` reads what the broker retains, which is cleared after a time; records stay.

        Args:
            job: The job's id.
            limit: How many rounds to fetch at most, the last ones; None is all of them.

        Raises:
            Refused: the repository has no such job.
            Unreachable: the repository did not answer.
        """
        return await stored_jobs.job_result(self.connection, checked_job(job), limit)

    async def job_results(
        self, model: str, *, limit: int | None = RECORDS
    ) -> tuple[JobResult, ...]:
        """Fetch what the jobs of a model have come to, the newest last.

            best = max(await fed.job_results("digits"), key=lambda each: each.metrics["accuracy"])

        Args:
            model: The model's name.
            limit: How many results to fetch at most, the newest; None is all of them.

        Raises:
            Refused: there is no such model.
            Unreachable: the repository did not answer.
        """
        return await stored_jobs.job_results(self.connection, model_name(model), limit)

    async def configurations(
        self, model: str | None = None, *, limit: int | None = RECORDS
    ) -> tuple[Configuration, ...]:
        """Fetch the configurations of a model, or of all, the newest last.

            print([each.configuration for each in await fed.configurations("digits")])

        Raises:
            Refused: there is no such model.
            Unreachable: the repository did not answer.
        """
        name = None if model is None else model_name(model)
        return await stored_jobs.configurations(self.connection, name, limit)

    async def configuration(self, configuration: str) -> ConfigurationShown:
        """Fetch a configuration: a job file without an id, which can be submitted.

            shown = await fed.configuration("29ccdaf9bf34c154f6ff")
            job = await fed.submit(shown.file)

        Raises:
            Refused: there is none of this id.
            Unreachable: the repository did not answer.
        """
        name = configuration_name(configuration)
        return await stored_jobs.configuration(self.connection, name)

    async def add_configuration(self, job: JobSource) -> ConfigurationStored:
        """Store the configuration of a job file without a job; a known one is not stored again.

            stored = await fed.add_configuration("job.json")
            print(stored.configuration.configuration, stored.known)

        Raises:
            SettingsError: the job is no JSON, or cannot be read.
            Refused: the job file has faults, or its model is not stored.
            Unreachable: the repository did not answer.
        """
        return await stored_jobs.store_configuration(self.connection, job_content(job))

    # ── nodes ───────────────────────────────────────────────────────────────────────────────────

    async def agents(self) -> tuple[NodeStatus, ...]:
        """Fetch what every agent says of itself, online or not.

            examples = {one.node: one.facts.examples for one in await fed.agents() if one.facts}

        Raises:
            BusError: the connection is lost.
        """
        return tuple(one for one in await self.nodes() if one.role == "agent")

    async def nodes(self) -> tuple[NodeStatus, ...]:
        """Fetch what every node says of itself, services and agents, online or not.

            print([one.node for one in await fed.nodes() if one.online])

        Raises:
            BusError: the connection is lost.
        """
        return await nodes.nodes(self.connection)

    # ── models ──────────────────────────────────────────────────────────────────────────────────

    async def models(self) -> tuple[StoredModel, ...]:
        """Fetch the latest version of every model, the oldest first.

            print({one.model: one.version for one in await fed.models()})

        Raises:
            Unreachable: the repository did not answer.
        """
        return await stored_models.models(self.connection)

    async def model(
        self, model: str, version: int | None = None, *, limit: int | None = VERSIONS
    ) -> ModelHistory:
        """Fetch the facts of a version of a model, of the versions before it, and its spec.

            history = await fed.model("digits")
            print(history.spec.classes, [each.metrics for each in history.versions])

        Args:
            model: The model's name; with `@`, one of its versions: `digits@3`, `digits@production`.
            version: A version's number, in place of the `@`; the latest by default.
            limit: How many versions to fetch at most; None is all of them.

        Raises:
            Refused: there is no such model, or no such version.
            Unreachable: the repository did not answer.
        """
        choice = version_choice(model, version)
        return await stored_models.history(self.connection, choice, limit)

    async def privacy(self, model: str) -> PrivacyShown:
        """Fetch what each job that trained a model has spent of its agents' privacy, and the sum.

            shown = await fed.privacy("digits")
            print(shown.epsilon, [(each.job, each.spent) for each in shown.jobs])

        Raises:
            Refused: there is no such model.
            Unreachable: the repository did not answer.
        """
        return await stored_models.privacy(self.connection, model_name(model))

    async def pull(
        self,
        model: str,
        version: int | None = None,
        *,
        progress: Progress = lambda _: None,
        key: str | Path | None = None,
    ) -> PulledModel:
        """Fetch a version of a model with its weights.

            pulled = await fed.pull("digits")
            fedbus.load_into(net, pulled.weights)
            pulled.save("digits.npz")

        Args:
            model: The model's name; with `@`, one of its versions: `digits@3`, `digits@production`.
            version: A version's number, in place of the `@`; the latest by default.
            progress: Called with the number of bytes that have just arrived.
            key: The secret key file that an encrypted version is decrypted with.

        Raises:
            Refused: there is no such model or version, its weights are deleted, or it is encrypted
                with another key than the one given.
            SettingsError: the file is no secret key.
            Failed: the weights are damaged.
            Unreachable: the repository did not answer, or stopped in the middle.
        """
        choice = version_choice(model, version)
        shown = await stored_models.show(self.connection, choice, limit=1)
        stored_models.check_kept(shown)
        pulled = await self.fetch(shown.version, progress=progress, key=key)
        return replace(pulled, facts=next(iter(shown.history), None))

    async def fetch(
        self,
        ref: ModelRef,
        *,
        progress: Progress = lambda _: None,
        key: str | Path | None = None,
    ) -> PulledModel:
        """Fetch a version that `models`, `model` or `push` has named; arguments as for `pull`.

            latest = [await fed.fetch(one.ref) for one in await fed.models()]

        Raises:
            Refused: it is encrypted with another key than the one given.
            SettingsError: the file is no secret key.
            Failed: the repository does not hold it any more, or the weights are damaged.
            Unreachable: the repository did not answer, or stopped in the middle.
        """
        held = None if key is None else SecretKey.load(Path(key))
        return await stored_models.fetch(self.connection, ref, progress, held)

    async def push(  # noqa: PLR0913 - what may be said of a model
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
        """Store a version of a model: its spec, the files that the spec names, its weights.

            pushed = await fed.push("model.json", weights="model.npz")
            pushed = await fed.push("my_package.nets:mlp", config={"hidden": 32})

        The model takes one step of training and answers once in each of its frameworks that is
        installed here: what fails at that is not pushed. What is the latest version already is not
        stored twice.

        Args:
            source: A spec file, JSON; `package.module:factory`, code that makes a Keras or torch
                model, called here; or what `fedbus.client.prepare_model` returned.
            weights: An .npz or .safetensors file; by default the factory's, or a framework's first.
            name: Of the model; that of the spec, or the factory's own, by default.
            config: What to call a factory with.
            input_shape: Of a row that a factory's model takes, where the model does not say it.
            answers: What the outputs mean; the model's loss and last layer say it by default.
            classes: Names of the outputs, in their order; by default those of the version before.
            local_terms: Whether a factory's .tflite file can be trained by FedProx, SCAFFOLD and
                FedDyn, which add terms to the loss; it is larger and needs more memory.
            inputs: Preprocessing that inference applies to raw rows, and the range of numbers.
            reset: Whether to replace a version that was trained, if need be by an equal one; ε then
                begins again at 0.
            progress: Called with the number of bytes that were just sent.

        Raises:
            SettingsError, TrainingError, LayoutError: the model cannot be read, or does not train.
            Refused: the repository says why it does not store it.
            Unreachable: the repository did not answer.
        """
        from fedbus.client.model_source import prepare_model

        if isinstance(source, PackedModel):
            packed = source
        else:
            packed = await asyncio.to_thread(
                prepare_model,
                source,
                weights=weights,
                name=name,
                config=config,
                input_shape=input_shape,
                answers=answers,
                classes=classes,
                local_terms=local_terms,
                inputs=inputs,
            )
        return await stored_models.push(self.connection, packed, reset=reset, progress=progress)

    async def create_empty(  # noqa: PLR0913 - where the spec comes from, and how it is filled
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
        """Store the first version of a model that has no weights yet.

            made = await fed.create_empty("second", like="digits", init="random", seed=7)
            mlp = {"torch": {"name": "mlp", "config": {"layers": [64, 32, 10]}}}
            made = await fed.create_empty("third", architectures=mlp, init="framework")

        Args:
            name: The model's name; no model may have it.
            like: A stored model, or `MODEL@VERSION`, whose spec the new one gets.
            layout: A file with a JSON list of tensors, or a model spec.
            architectures: By the framework's name, as in a spec.
            input_shape: Of a row, beside architectures, which do not say it.
            init: `zeros`; `random`, drawn from the seed, the same on every machine; or
                `framework`, as the first framework does that is installed here.
            seed: Of `random`.

        Raises:
            SettingsError: not exactly one of like, layout and architectures is given, or the
                layout is not known here.
            Refused: a model of this name exists, or there is none that it should be like.
            Unreachable: the repository did not answer.
        """
        given = [each for each in (like, layout, architectures) if each is not None]
        if len(given) != 1:
            raise SettingsError("give one of like, layout and architectures")
        from fedbus.client import empty_models

        await empty_models.check_new(self.connection, model_name(name))
        files: Mapping[str, bytes] = {}
        plain: Mapping[str, Any] = empty_models.spec_of(architectures or {}, input_shape)
        if like is not None:
            plain, files = await empty_models.spec_like(self.connection, version_choice(like))
        elif layout is not None:
            plain, files = empty_models.spec_of_layout(Path(layout))
        made = await asyncio.to_thread(empty_models.empty_model, name, plain, files, init, seed)
        return await stored_models.push(self.connection, made)

    async def release(  # noqa: PLR0913 - each has a good default
        self,
        model: str,
        version: int | None = None,
        *,
        key: str | Path,
        reset: bool = False,
        least_agents: int = LEAST_RELEASED_AGENTS,
        progress: Progress = lambda _: None,
    ) -> PushedModel:
        """Decrypt an encrypted version and store it as a new one that everyone can read.

            released = await fed.release("digits", key="keys/secret.key")

        Any job can train from it; it keeps the metrics and the ε of its source, and is the anchor
        of encrypted versions that follow. The history of the model says who released it.

        Args:
            model: The model's name; with `@`, one of its versions: `digits@3`, `digits@paper`.
            version: A version's number, in place of the `@`; the latest by default.
            key: The secret key file of the agents.
            reset: Whether an older version may replace the latest.
            least_agents: The fewest updates that must be in its sum; 1 shows that of one agent.
            progress: Called with the number of bytes that have just arrived.

        Raises:
            Refused: the version is not encrypted, or with another key, or of too few updates; or
                the repository says why it does not store it.
            SettingsError: the file is no secret key, or TenSEAL is missing.
            Failed: the blobs are damaged.
            Unreachable: the repository did not answer, or stopped in the middle.
        """
        held = SecretKey.load(Path(key))
        choice = version_choice(model, version)
        shown = await stored_models.show(self.connection, choice, limit=1)
        check_encrypted(shown.version)
        stored_models.check_kept(shown)
        pulled = await stored_models.fetch(self.connection, shown.version, progress, held)
        made = await asyncio.to_thread(released, pulled, who_holds_the_key(), least_agents)
        return await stored_models.push_derived(self.connection, made, reset=reset)

    async def rotate(
        self,
        model: str,
        *,
        old_key: str | Path,
        new_key: str | Path,
        progress: Progress = lambda _: None,
    ) -> PushedModel:
        """Encrypt the newest version of a model with a new key, and store it as a new version.

            rotated = await fed.rotate("digits", old_key="old/secret.key", new_key="new/secret.key")

        Its numbers and its anchor stay. If the repository was started with a public key, it must be
        the new one.

        Args:
            model: The model's name.
            old_key: The secret key file that the version is encrypted with.
            new_key: The secret key file that replaces it.
            progress: Called with the number of bytes that have just arrived or left.

        Raises:
            Refused: the version is not encrypted with the old key, or both keys are one; or the
                repository says why it does not store it.
            SettingsError: a file is no secret key, or TenSEAL is missing.
            Failed: the blobs are damaged, or the new key cannot hold the version.
            Unreachable: the repository did not answer, or stopped in the middle.
        """
        keys = SecretKey.load(Path(old_key)), SecretKey.load(Path(new_key))
        choice = VersionChoice(model=model_name(model))
        shown = await stored_models.show(self.connection, choice, limit=1)
        check_old_key(shown.version, *keys)
        spec, weights = await stored_models.fetch_stored(self.connection, shown.version, progress)
        by = who_holds_the_key()
        made = await asyncio.to_thread(rotated, shown.version, spec, weights, keys, by)
        return await stored_models.push_derived(self.connection, made, progress=progress)

    # ── tags, aliases, lineage ──────────────────────────────────────────────────────────────────

    async def tag(self, model: str, tag: str, *, note: str = "") -> VersionTagged:
        """Add a name to a version of a model; it keeps its weights until it is untagged.

            await fed.tag("digits@3", "paper")
            weights = (await fed.pull("digits@paper")).weights

        A tag of this name that another version of the model has is moved.

        Args:
            model: The model's name; with `@`, one of its versions: `digits@3`, `digits@production`.
            tag: The name: no number, not `latest`, and no alias of the model.
            note: Why, for the history of the name.

        Raises:
            Refused: there is no such version, or the name is an alias.
            Unreachable: the repository did not answer.
        """
        choice = version_choice(model)
        return await model_names.tag(self.connection, choice, version_name(tag), note)

    async def untag(self, model: str, tag: str, *, note: str = "") -> VersionTagged:
        """Remove a tag from the version that has it.

            await fed.untag("digits", "paper")

        Raises:
            Refused: there is no such model or tag.
            Unreachable: the repository did not answer.
        """
        name = version_name(tag)
        return await model_names.untag(self.connection, model_name(model), name, note)

    async def promote(
        self, model: str, alias: str, *, expected: int | None = None, note: str = ""
    ) -> AliasMoved:
        """Make an alias of a model, such as `production`, name a version.

            await fed.promote("digits@5", "production")

        Its weights are kept while the alias names it, and for three roll-backs more.

        Args:
            model: The model's name; with `@`, the version: `digits@5`, `digits@candidate`.
            alias: The alias, which is made if there is none: no number, not `latest`, no tag.
            expected: Promote only if the alias names this version now; 0: if it names none.
            note: Why, for the history of the alias.

        Raises:
            Refused: there is no such version; its weights are deleted, damaged or encrypted; or the
                alias does not name the expected version.
            Unreachable: the repository did not answer.
        """
        choice, name = version_choice(model), version_name(alias)
        return await model_names.promote(self.connection, choice, name, expected, note)

    async def roll_back(
        self, model: str, alias: str, *, expected: int | None = None, note: str = ""
    ) -> AliasMoved:
        """Make an alias name the version before; repeated, it goes further back.

            moved = await fed.roll_back("digits", "production")
            print(moved.version.version, moved.before)

        Args:
            model: The model's name.
            alias: The alias.
            expected: The version that is taken back; by default the one that the alias names now.
            note: Why, for the history of the alias.

        Raises:
            Refused: there is no such alias, no version before, or the weights of that one are
                deleted or damaged; or the alias does not name the expected version.
            Unreachable: the repository did not answer.
        """
        name = version_name(alias)
        return await model_names.roll_back(self.connection, model_name(model), name, expected, note)

    async def remove_alias(self, model: str, alias: str, *, note: str = "") -> AliasMoved:
        """Remove an alias of a model; its history stays.

            await fed.remove_alias("digits", "canary")

        Raises:
            Refused: there is no such model or alias.
            Unreachable: the repository did not answer.
        """
        name = version_name(alias)
        return await model_names.remove_alias(self.connection, model_name(model), name, note)

    async def name_changes(
        self, model: str, name: str | None = None, *, limit: int | None = PAGE_VERSIONS
    ) -> tuple[NameChange, ...]:
        """Fetch who changed tags and aliases of a model, when and why, newest first.

            for change in await fed.name_changes("digits", "production"):
                print(change.at, change.by, change.kind, change.version, change.note)

        Args:
            model: The model's name.
            name: One alias or tag; all by default.
            limit: How many changes to fetch at most; None is all of them.

        Raises:
            Refused: there is no such model, or no such name.
            Unreachable: the repository did not answer.
        """
        one = None if name is None else version_name(name)
        return await model_names.name_changes(self.connection, model_name(model), one, limit)

    async def ancestors(
        self, model: str, *, limit: int | None = PAGE_VERSIONS
    ) -> tuple[VersionFacts, ...]:
        """Fetch the versions that a version was made from, the nearest first.

            print([(each.version, each.job) for each in await fed.ancestors("digits@production")])

        A round makes its version from its base, a release from its source; a pushed version has no
        ancestors.

        Args:
            model: The model's name; with `@`, one of its versions.
            limit: How many versions to fetch at most; None is all of them.

        Raises:
            Refused: there is no such model or version.
            Unreachable: the repository did not answer.
        """
        choice = version_choice(model)
        return await model_names.relatives(self.connection, choice, "ancestors", limit)

    async def descendants(
        self, model: str, *, limit: int | None = PAGE_VERSIONS
    ) -> tuple[VersionFacts, ...]:
        """Fetch the versions that were made from a version, directly or not, in their order.

            made = await fed.descendants("digits@1", limit=None)

        Raises:
            Refused, Unreachable: as `ancestors`, which has the same arguments.
        """
        choice = version_choice(model)
        return await model_names.relatives(self.connection, choice, "descendants", limit)

    async def leaves(
        self, model: str, *, limit: int | None = PAGE_VERSIONS
    ) -> tuple[VersionFacts, ...]:
        """Fetch the versions of a model that no version was made from, in their order.

            print([each.version for each in await fed.leaves("digits")])

        With `@`, only descendants of that version.

        Raises:
            Refused, Unreachable: as `ancestors`, which has the same arguments.
        """
        choice = version_choice(model)
        return await model_names.relatives(self.connection, choice, "leaves", limit)

    # ── inference ───────────────────────────────────────────────────────────────────────────────

    async def infer(self, model: str, inputs: ArrayLike) -> InferenceResult:
        """Ask the inference service what a version of a model answers, by default the newest.

            prediction = await fed.infer("digits", x[:8])
            print(prediction.version, prediction.outputs.argmax(axis=1))
            before = await fed.infer("digits@3", x[:8])

        Args:
            model: The model's name; with `@3`, `@production` or `@TAG` the version that answers.
            inputs: One row or a batch, as the agents' pipelines make them; at most 1 MiB in all.

        Raises:
            Refused: the service says why it has no answer: no such model, inputs of another shape.
            Unreachable: no inference service answered.
        """
        return await inference.infer(self.connection, inference.target_of(model), inputs)

    async def infer_encoded(self, model: str, payload: bytes, content_type: str) -> dict[str, Any]:
        """Send a request that is encoded already, and return the decoded answer.

            answer = await fed.infer_encoded("digits", b'{"inputs": [[0.5]]}', "application/json")

        Raises:
            Refused, Unreachable: as `infer`.
        """
        target = inference.target_of(model)
        return await inference.request(self.connection, target, payload, content_type)
