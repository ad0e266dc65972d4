"""Methods of the asyncio client for who holds the agents' secret key: release and rotate."""

import asyncio
from pathlib import Path

from fedbus.client import model_downloads, model_uploads, stored_models
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
from fedbus.client.names import model_name, version_choice
from fedbus.client.results import PushedModel
from fedbus.client.stored_models import Progress
from fedbus.encryption.key_files import SecretKey
from fedbus.wire.version_choice import VersionChoice


class KeyHolderMethods(ClientPart):
    """Decrypt encrypted versions for everyone, or encrypt them with another key."""

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
        pulled = await model_downloads.fetch(self.connection, shown.version, progress, held)
        made = await asyncio.to_thread(released, pulled, who_holds_the_key(), least_agents)
        return await model_uploads.push_derived(self.connection, made, reset=reset)

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
        spec, weights = await model_downloads.fetch_stored(self.connection, shown.version, progress)
        by = who_holds_the_key()
        made = await asyncio.to_thread(rotated, shown.version, spec, weights, keys, by)
        return await model_uploads.push_derived(self.connection, made, progress=progress)
