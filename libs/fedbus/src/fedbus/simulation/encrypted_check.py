"""Check of an encrypted version without its key: its header against the record of its round."""

from fedbus.encryption.encrypted_blob import read_encrypted_header
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.simulation.stored_records import (
    RecordsError,
    RoundLike,
    StoredRecords,
    name_of,
    read_blob,
    read_spec,
)
from fedbus.wire.blobs import EncryptedVersion


def check_encrypted(store: StoredRecords, each: RoundLike, how: EncryptedVersion) -> None:
    """Check that a version's header agrees with its record, and that its anchor is stored.

    Raises:
        RecordsError: It does not, or a blob is missing or damaged.
        EncryptionError: The weights are no encrypted blob of the layout.
    """
    version, record, what = each.version, each.record, name_of(each.version)
    layout = Layout.read(read_spec(store, version).layout)
    blob = read_blob(store, version.weights, f"the weights of {what}")
    decode(read_blob(store, how.anchor_weights, f"the anchor of {what}"), layout, "plain")
    header, _ = read_encrypted_header(blob, len(blob), layout)
    stated = (how.scheme, how.key, how.parameters, how.anchor_weights.digest)
    if stated != (header.scheme, header.key, header.parameters, header.anchor):
        raise RecordsError(f"{what} is encrypted in another way than its header says")
    if record is None:  # encrypted again with another key
        return
    if record.encryption != how:
        raise RecordsError(f"{what} is encrypted in another way than its record says")
    examples = sum(one.examples for one in record.contributors)
    if (header.count, header.weight) != (len(record.contributors), examples):
        raise RecordsError(
            f"{what} is the sum of {header.count} updates of the weight {header.weight}, its "
            f"record has {len(record.contributors)} of {examples}"
        )
