"""Tasks of encrypted jobs: what an agent declines before it trains.

An agent trusts no other node with its update: it encrypts with the key in its own file alone, and
so that no sum of such updates can overflow.
"""

from fedbus.encryption.encryption_terms import parameters_of
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.parameters import parameters_digest
from fedbus.encryption.tenseal_contexts import INSTALL
from fedbus.errors import PrivacyError, SettingsError
from fedbus.frameworks.installed import is_installed
from fedbus.text import listed
from fedbus.wire.blobs import EncryptedVersion, ModelRef
from fedbus.wire.encryption import EncryptionTerms
from fedbus.wire.messages import EvaluateTask, FeatureTask, TrainTask

KEY_MISSING = (
    "this agent has no encryption key: set FEDBUS_ENCRYPTION_KEY to the secret key file, which "
    "`fedbus keys generate FOLDER` makes"
)
_SHOWN_DIGITS = 12


def check_encrypted_task(
    message: TrainTask | EvaluateTask | FeatureTask, key: SecretKey | None
) -> None:
    """Decline a task with encrypted versions or updates that this agent cannot read or make.

    Raises:
        PrivacyError: The key is missing or another one, TenSEAL is missing, or the task would have
            a node read more than the sum of all updates.
    """
    ref = message.version if isinstance(message, EvaluateTask) else message.base
    terms = message.encryption if isinstance(message, TrainTask) else None
    if terms is None and ref.encryption is None:
        return
    if terms is None and not isinstance(message, EvaluateTask):
        raise PrivacyError(
            f"{ref.model} version {ref.version} is encrypted, and the job's updates are not: they "
            f"would show what it holds; `fedbus models release {ref.model}` makes a version that "
            "is not"
        )
    if isinstance(message, TrainTask) and message.masking is not None:
        raise PrivacyError(
            "the task has the terms of both encryption and masks: the update would be masked only, "
            "and the collector, which must not read what the version holds, would read its sum"
        )
    if key is None:
        raise PrivacyError(KEY_MISSING)
    if not is_installed("tenseal"):
        raise PrivacyError(INSTALL)
    if ref.encryption is not None:
        _check_version(ref, ref.encryption, key)
    if isinstance(message, TrainTask) and terms is not None:
        _check_terms(terms, key)
        _check_offer(message, terms)


def _check_version(ref: ModelRef, encryption: EncryptedVersion, key: SecretKey) -> None:
    if encryption.key != key.id:
        raise PrivacyError(
            f"{ref.model} version {ref.version} is encrypted with the key "
            f"{encryption.key[:_SHOWN_DIGITS]}, and this agent has {key.id[:_SHOWN_DIGITS]}"
        )


def _check_terms(terms: EncryptionTerms, key: SecretKey) -> None:
    if terms.key != key.id:
        raise PrivacyError(
            f"the job's encryption key is {terms.key[:_SHOWN_DIGITS]}, and this agent has "
            f"{key.id[:_SHOWN_DIGITS]}"
        )
    if terms.parameters != parameters_digest(key.parameters, key.id, terms.fields):
        raise PrivacyError(
            "the parameters of the job's encryption are not those of this agent's key file"
        )
    try:
        parameters_of(terms)
    except SettingsError as error:
        raise PrivacyError(f"the job's encryption: {error}") from None


def _check_offer(task: TrainTask, terms: EncryptionTerms) -> None:
    """Raise PrivacyError if the offer would have figures in the clear."""
    if task.sections:
        raise PrivacyError(
            f"the strategy needs the section {task.sections[0]!r} of updates, which would not be "
            "encrypted; take a strategy without sections, such as fedavg"
        )
    if plain := set(task.facts) - {"norm_bit"}:
        raise PrivacyError(
            f"the strategy needs {listed(sorted(plain))} of each training, which would not be "
            "encrypted; take the aggregator mean"
        )
    most = terms.fixed_point.max_examples
    if task.max_examples > most:
        raise PrivacyError(
            f"the task counts up to {task.max_examples} examples, and the job's terms {most}"
        )
