"""Encrypted rounds: the header that updates must have, and how the version is made. Pure."""

from fedbus.encryption.encrypted_blob import EncryptedHeader, planned_header
from fedbus.model.layout import Layout
from fedbus.wire.blobs import EncryptedVersion, ModelRef
from fedbus.wire.encryption import EncryptionTerms
from fedbus.wire.round_records import Plan


def encryption_of_new_version(base: ModelRef, terms: EncryptionTerms) -> EncryptedVersion:
    """Return how the version that a round makes is encrypted; a plain base is its anchor."""
    before = base.encryption
    return EncryptedVersion(
        scheme=terms.scheme,
        key=terms.key,
        parameters=terms.parameters,
        anchor=base.version if before is None else before.anchor,
        anchor_weights=base.weights if before is None else before.anchor_weights,
    )


def planned_update(plan: Plan, terms: EncryptionTerms, layout: Layout) -> EncryptedHeader:
    """Return the header that each update of a round must have, except for count and weight.

    Raises:
        FedbusError: The plan has no range for a tensor, or the model shares whole numbers.
    """
    anchor = encryption_of_new_version(plan.base, terms).anchor_weights.digest
    return planned_header(
        terms, layout, anchor=anchor, ranges=plan.ranges, max_examples=plan.max_examples
    )
