"""Methods of the asyncio client that store a new model: push and create-empty."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbus.client import model_uploads
from fedbus.client.client_part import ClientPart
from fedbus.client.model_inputs import InputTerms
from fedbus.client.names import model_name, version_choice
from fedbus.client.packed_model import PackedModel
from fedbus.client.results import PushedModel
from fedbus.client.stored_models import Progress
from fedbus.errors import SettingsError
from fedbus.model.first_weights import Init


class PushMethods(ClientPart):
    """Store models of the caller."""

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
        return await model_uploads.push(self.connection, packed, reset=reset, progress=progress)

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
        return await model_uploads.push(self.connection, made)
