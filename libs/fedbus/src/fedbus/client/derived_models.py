"""Versions that a key holder makes of an encrypted one: a release, or a rotation to a new key.

Both are pushed like a model, but with the stored spec, and say which version they are made of. The
repository adds who sent them.
"""

import getpass
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from fedbus.client.failures import Failed, Refused
from fedbus.client.results import PulledModel
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.rotation import rotate_version
from fedbus.errors import EncryptionError, LayoutError, WireError
from fedbus.limits import MAX_WORD_CHARACTERS
from fedbus.model.blob import encode
from fedbus.model.layout import Layout
from fedbus.text import counted
from fedbus.wire import codec
from fedbus.wire.blobs import EncryptedVersion, ModelRef, blob_ref_of
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import PushModel
from fedbus.wire.messages.model_requests import Derivation

LEAST_RELEASED_AGENTS: Final = 3
"""Updates in the sum of a version that is released: one of two agents could compute the other's."""


@dataclass(frozen=True, slots=True)
class DerivedModel:
    """A version that is ready to be pushed: the request and its blobs, by digest."""

    push: PushModel
    blobs: Mapping[str, bytes | bytearray]
    spec: ModelSpec

    @property
    def size(self) -> int:
        """The bytes of all blobs."""
        return sum(map(len, self.blobs.values()))


def who_holds_the_key() -> str:
    """Return the login name of the user of this machine, or "" if it has none."""
    try:
        return getpass.getuser()[:MAX_WORD_CHARACTERS]
    except (KeyError, OSError):  # a container may have no user of this number
        return ""


def check_encrypted(ref: ModelRef) -> EncryptedVersion:
    """Return how a version is encrypted.

    Raises:
        Refused: it is not, so it needs neither a release nor a rotation.
    """
    if ref.encryption is None:
        raise Refused(
            f"{ref.model} version {ref.version} is not encrypted: it can be read as it is, and "
            "trained by any job"
        )
    return ref.encryption


def check_old_key(ref: ModelRef, old: SecretKey, new: SecretKey) -> None:
    """Check that a version can be rotated from one key to another, before anything is fetched.

    Raises:
        Refused: it is not encrypted with the old key, or both keys are one.
    """
    found, what = check_encrypted(ref), f"{ref.model} version {ref.version}"
    if old.id == new.id:
        raise Refused(
            f"both files have the key {old.id[:12]}; make a new one: fedbus keys generate"
        )
    if found.key == new.id:
        raise Refused(f"{what} is encrypted with the new key {new.id[:12]} already")
    if found.key != old.id:
        raise Refused(
            f"{what} is encrypted with the key {found.key[:12]}, and the old key given is "
            f"{old.id[:12]}"
        )


def released(
    pulled: PulledModel, by: str, least_agents: int = LEAST_RELEASED_AGENTS
) -> DerivedModel:
    """Return the plain version of an encrypted one, which was decrypted when it was pulled.

    Its header and its canaries say how many updates are in its sum. An honest collector counts each
    agent once; a dishonest one can add one update several times, which no key holder can see.

    Raises:
        Refused: the sum is of fewer agents than `least_agents`.
    """
    ref = pulled.ref
    if pulled.updates and pulled.updates < least_agents:
        raise Refused(
            f"{ref.model} version {ref.version} is the sum of {counted(pulled.updates, 'update')}, "
            f"and everyone could read it; a release needs {least_agents}, so that none of its "
            f"agents can compute the update of another: release a later version, or lower the "
            f"least number with --least-agents"
        )
    blob = encode(pulled.weights, Layout.read(pulled.spec.layout))
    derived = Derivation(kind="release", version=ref.version, by=by)
    push = PushModel(model=ref.model, spec=ref.spec, weights=blob_ref_of(blob), derived=derived)
    return DerivedModel(push, {push.weights.digest: blob}, pulled.spec)


def rotated(
    ref: ModelRef, spec: bytes, weights: bytes, keys: tuple[SecretKey, SecretKey], by: str
) -> DerivedModel:
    """Return a version that is encrypted with a new key.

    Args:
        ref: The version, which `check_old_key` has checked.
        spec: Its spec, as it is stored.
        weights: Its ciphertexts.
        keys: The old and the new one.
        by: Who rotates.

    Raises:
        Failed: The blobs are damaged, or the new key cannot hold the version.
    """
    encryption = check_encrypted(ref)
    try:
        read = codec.from_json(ModelSpec, spec)
        header, blob = rotate_version(weights, Layout.read(read.layout), *keys)
    except (EncryptionError, LayoutError, WireError) as error:
        raise Failed(f"{ref.model} version {ref.version}: {error}") from error
    push = PushModel(
        model=ref.model,
        spec=ref.spec,
        weights=blob_ref_of(blob),
        derived=Derivation(kind="rotation", version=ref.version, by=by),
        encryption=replace(
            encryption, scheme=header.scheme, key=header.key, parameters=header.parameters
        ),
    )
    return DerivedModel(push, {push.weights.digest: blob}, read)
