"""Methods of the asyncio client for models: push, pull, create, release and rotate."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedbus.client import (
    stored_models,
)
from fedbus.client.client_part import ClientPart
from fedbus.client.derived_models import (
    LEAST_RELEASED_AGENTS,
    check_encrypted,
    check_old_key,
    released,
    rotated,
    who_holds_the_key,
)
from fedbus.client.kept_versions import check_kept
from fedbus.client.model_inputs import InputTerms
from fedbus.client.names import model_name, version_choice
from fedbus.client.packing import PackedModel
from fedbus.client.results import (
    ModelHistory,
    PulledModel,
    PushedModel,
    StoredModel,
)
from fedbus.client.stored_models import VERSIONS, Progress
from fedbus.encryption.key_files import SecretKey
from fedbus.errors import SettingsError
from fedbus.model.first_weights import Init
from fedbus.wire.blobs import ModelRef
from fedbus.wire.messages import (
    PrivacyShown,
)
from fedbus.wire.version_choice import VersionChoice


class ModelMethods(ClientPart):
    """Push and pull models, and show what is stored of them."""

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
        check_kept(shown)
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
        check_kept(shown)
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
