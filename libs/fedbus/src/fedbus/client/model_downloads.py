"""Download of a version's weights, spec and file from the repository."""

from fedbus.blobs.spool import Spools
from fedbus.client.connection import ClientConnection
from fedbus.client.failures import Failed, Refused
from fedbus.client.repository import Pull
from fedbus.client.results import PulledModel
from fedbus.client.stored_models import IN_MEMORY_BYTES, Progress, run_request
from fedbus.encryption.encrypted_blob import read_encrypted_header
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.readable_weights import readable_weights
from fedbus.errors import EncryptionError, LayoutError, WireError
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.documents import ModelSpec


async def fetch(
    connection: ClientConnection,
    ref: ModelRef,
    progress: Progress = lambda _: None,
    key: SecretKey | None = None,
) -> PulledModel:
    """Fetch the weights and the spec of a version; an encrypted one is decrypted with `key`.

    Raises:
        Refused: the version is encrypted, and the key is missing or another one.
        Failed: the repository does not hold them any more, or they are damaged.
        Unreachable: the repository does not answer, or stopped in the middle.
    """
    check_readable(ref, key)
    request = Pull(ref.source, blobs_of(ref), Spools(IN_MEMORY_BYTES))
    request.moved = progress
    got = await run_request(connection, request)
    described, weights = got[ref.spec.digest], got[ref.weights.digest]
    try:
        spec = codec.from_json(ModelSpec, bytes(described.read(0, described.size)))
        layout = Layout.read(spec.layout, may_be_empty=True)
        blob, updates = memoryview(weights.read(0, weights.size)), 0
        if key is not None and ref.encryption is not None:
            anchor = got[ref.encryption.anchor_weights.digest]
            start = anchor.read(0, anchor.size)
            updates = read_encrypted_header(blob, len(blob), layout)[0].count
            blob = memoryview(readable_weights(blob, start, ref.encryption, layout, key))
        file = None if spec.layout else await _file_of(connection, ref, spec, progress)
        return PulledModel(ref, spec, decode(blob, layout, "plain"), updates, file=file)
    except (EncryptionError, LayoutError, WireError) as error:
        raise Failed(f"{ref.model} version {ref.version}: {error}") from error


async def fetch_stored(
    connection: ClientConnection, ref: ModelRef, progress: Progress = lambda _: None
) -> tuple[bytes, bytes]:
    """Fetch a version's spec and weights as they are stored; an encrypted one stays encrypted.

    Raises:
        Failed: the repository does not hold them any more, or they are damaged.
        Unreachable: the repository does not answer, or stopped in the middle.
    """
    request = Pull(ref.source, (ref.spec, ref.weights), Spools(IN_MEMORY_BYTES))
    request.moved = progress
    got = await run_request(connection, request)
    spec, weights = got[ref.spec.digest], got[ref.weights.digest]
    return bytes(spec.read(0, spec.size)), bytes(weights.read(0, weights.size))


async def _file_of(
    connection: ClientConnection, ref: ModelRef, spec: ModelSpec, progress: Progress
) -> bytes | None:
    """Fetch the file of a model that only runs; None if its spec names none."""
    named = [each["blob"] for each in spec.architectures.values() if "blob" in each]
    if not named:
        return None
    blob = BlobRef(digest=named[0]["digest"], size=named[0]["size"])
    request = Pull(ref.source, (blob,), Spools(IN_MEMORY_BYTES))
    request.moved = progress
    spool = (await run_request(connection, request))[blob.digest]
    return bytes(spool.read(0, spool.size))


def blobs_of(ref: ModelRef) -> tuple[BlobRef, ...]:
    """Return the blobs that a version is read from: an encrypted one needs its anchor."""
    anchor = () if ref.encryption is None else (ref.encryption.anchor_weights,)
    return (ref.spec, ref.weights, *anchor)


def check_readable(ref: ModelRef, key: SecretKey | None) -> None:
    """Refuse to fetch a version that cannot be read.

    Raises:
        Refused: it is encrypted, and the key is missing or another one.
    """
    if ref.encryption is None:
        return
    what = f"{ref.model} version {ref.version} is encrypted with the key {ref.encryption.key[:12]}"
    if key is None:
        raise Refused(
            f"{what}: with `--key FILE`, the secret key file of its agents, `fedbus models pull` "
            f"decrypts it; `fedbus models release {ref.model} --key FILE` makes a version that "
            "everyone can read"
        )
    if key.id != ref.encryption.key:
        raise Refused(f"{what}, and the key given is {key.id[:12]}")
