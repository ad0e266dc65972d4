"""Methods of the asyncio client that read stored models: list, show, pull."""

from dataclasses import replace
from pathlib import Path

from fedbus.client import model_downloads, stored_models
from fedbus.client.client_part import ClientPart
from fedbus.client.kept_versions import check_kept
from fedbus.client.names import model_name, version_choice
from fedbus.client.results import ModelHistory, PulledModel, StoredModel
from fedbus.client.stored_models import VERSIONS, Progress
from fedbus.encryption.key_files import SecretKey
from fedbus.wire.blobs import ModelRef
from fedbus.wire.messages import PrivacyShown


class ModelMethods(ClientPart):
    """Show what is stored of models, and download their versions."""

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
        return await model_downloads.fetch(self.connection, ref, progress, held)
