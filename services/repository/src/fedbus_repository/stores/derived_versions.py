"""Rules of versions that a key holder makes from an encrypted one: releases and rotations. Pure.

The weights stay the same, so metrics and what was spent of agents' privacy are those of the source.
"""

from dataclasses import replace

from fedbus.limits import MAX_WORD_CHARACTERS
from fedbus.wire.blobs import BlobRef, EncryptedVersion
from fedbus.wire.messages import PushModel
from fedbus.wire.messages.model_requests import Derivation
from fedbus_repository.stores.records import Version


def signed(derived: Derivation | None, sender: str) -> Derivation | None:
    """Return a derivation with the node that sent it: the broker knows its login.

    `by` is what that node says about its user.
    """
    if derived is None:
        return None
    by = f"{derived.by} ({sender})" if derived.by else sender
    return replace(derived, by=by[:MAX_WORD_CHARACTERS])


def derivation_fault(
    message: PushModel, latest: Version | None, source: Version | None, pushed: int
) -> str | None:
    """Return why a push cannot derive its version from a stored one, or have ciphertexts; or None.

    Args:
        message: The push.
        latest: The newest version of the model.
        source: The version that it is derived from; None if there is none of that number.
        pushed: The number of the last version whose weights were pushed, not derived.
    """
    derived, encryption = message.derived, message.encryption
    if derived is None:
        return None if encryption is None else "only the rotation of a version has ciphertexts"
    if latest is None or source is None:
        return f"model {message.model!r} has no version {derived.version}"
    what = f"version {source.version} of model {message.model!r}"
    if source.encryption is None:
        return f"{what} is not encrypted, so it needs no {derived.kind}"
    return _source_fault(message, latest, source, pushed) or _encryption_fault(
        derived, encryption, source.encryption, what
    )


def _source_fault(message: PushModel, latest: Version, source: Version, pushed: int) -> str | None:
    what = f"version {source.version} of model {message.model!r}"
    if source.version != latest.version and not message.reset:
        return (
            f"{what} is not the newest one, {latest.version}, which would be replaced; give --reset"
            " if that is meant"
        )
    if source.version < pushed:
        return (
            f"{what} is older than version {pushed}, whose weights were pushed: what jobs have "
            "spent on it would be forgotten; release it under another name, with `fedbus models "
            "pull --key` and `fedbus models push --name`"
        )
    if message.spec != source.spec:
        return f"{what} has another spec"
    return None


def derived_version(made: Version, source: Version | None) -> Version:
    """Return a version with what its source says about the weights, which are the same."""
    if source is None:
        return made
    return replace(made, metrics=source.metrics, evaluated=source.evaluated, privacy=source.privacy)


def is_same_push(latest: Version, message: PushModel) -> bool:
    """Return whether a model's newest version is what a push would make."""
    pushed: tuple[BlobRef, BlobRef] = (message.spec, message.weights)
    return (latest.spec, latest.weights) == pushed and latest.encryption == message.encryption


def _encryption_fault(
    derived: Derivation, made: EncryptedVersion | None, found: EncryptedVersion, what: str
) -> str | None:
    if derived.kind == "release":
        return None if made is None else f"a release of {what} has plain weights, not ciphertexts"
    if made is None:
        return f"a rotation of {what} has ciphertexts, not plain weights"
    if (made.anchor, made.anchor_weights) != (found.anchor, found.anchor_weights):
        return f"a rotation of {what} keeps its anchor, version {found.anchor}"
    if made.key == found.key:
        return f"{what} is encrypted with this key already"
    return None
