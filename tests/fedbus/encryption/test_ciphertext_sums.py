"""The process that adds ciphertexts refuses bad ones by name, and its end costs one update."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tenseal import bfv_vector_from, context_from

from fedbus.encryption.ciphertext_frames import framed
from fedbus.encryption.ciphertext_sums import SumProcess
from fedbus.encryption.encrypt import decrypt_version
from fedbus.encryption.encrypted_blob import (
    EncryptedHeader,
    encrypted_header_bytes,
    read_encrypted_header,
)
from fedbus.encryption.sum_process import MAX_PROCESS_BYTES
from fedbus.errors import EncryptionError, StoreError
from tests.fedbus.encryption.encryption_examples import (
    CKKS,
    LAYOUT,
    encrypted,
    header_of,
    key_of,
)

KEY = key_of()


@pytest.fixture(scope="module")
def public_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the public key file."""
    path = tmp_path_factory.mktemp("keys") / "public.key"
    KEY.public.save(path)
    return path


@pytest.fixture(scope="module")
def process(public_key: Path) -> Iterator[SumProcess]:
    """Yield a process that all tests share, unless they end it."""
    made = SumProcess(public_key)
    yield made
    made.close()


def written(path: Path, content: bytes) -> Path:
    """Return a file with this content."""
    path.write_bytes(content)
    return path


def test_updates_are_added_one_by_one(process: SumProcess, tmp_path: Path) -> None:
    """The header counts them, and the sum can be decrypted after each."""
    total, header = None, header_of(KEY)
    for number in (1, 2, 3):
        update = written(tmp_path / "update", encrypted(KEY, number))
        made = process.add(total, update, tmp_path / "sum", header.with_sum(1, 4))
        total = tmp_path / "sum"
        assert (made.count, made.weight) == (number, 4 * number)
        assert read_encrypted_header(total.read_bytes())[0] == made
        assert decrypt_version(total.read_bytes(), LAYOUT, KEY).keys() == {
            "bias",
            "kernel",
            "scale",
        }
    assert sorted(each.name for each in tmp_path.iterdir()) == ["sum", "update"]


def body_of(blob: bytes) -> bytes:
    """Return the ciphertext of a blob with one."""
    return blob[read_encrypted_header(blob)[1] + 4 :]


def blob_of(ciphertext: bytes, header: EncryptedHeader | None = None) -> bytes:
    """Return a blob with one ciphertext and the header of a right update, or another."""
    return encrypted_header_bytes(header or header_of(KEY).with_sum(1, 4)) + framed(ciphertext)


def _product() -> bytes:
    """Return a ciphertext of three polynomials: a product that was not relinearized."""
    context = context_from(KEY.context)
    context.auto_relin = False
    one = bfv_vector_from(context, body_of(encrypted(KEY)))
    made: bytes = (one * one).serialize()
    return made


def _short() -> bytes:
    """Return a ciphertext that says that it has 1 slot, and so would be added to all slots."""
    body = body_of(encrypted(KEY))
    assert body[:4] == b"\x0a\x02\x80\x20"
    return b"\x0a\x01\x01" + body[4:]


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "another key": (lambda: encrypted(key_of(number=1)), "the key of the encrypted blob is"),
    "another scheme": (lambda: encrypted(key_of(CKKS)), "of the encrypted blob is"),
    "other ranges": (
        lambda: encrypted(KEY, header=header_of(KEY, ranges=(1, 0, 0))),
        r"ranges of the encrypted blob is \(1, 0, 0\)",
    ),
    "other examples": (lambda: encrypted(KEY, examples=5), "an update of 5 examples, of which 4"),
    "a sum": (
        lambda: blob_of(body_of(encrypted(KEY)), header_of(KEY).with_sum(2, 8)),
        "an update that says it is the sum of 2",
    ),
    "nothing": (lambda: b"", "not an encrypted blob"),
    "no ciphertext": (lambda: blob_of(b""), "ciphertext 1 of 1 has 0 bytes"),
    "a long one": (lambda: blob_of(bytes(2**20)), "too many for 1 ciphertexts"),
    "zeros": (lambda: blob_of(bytes(31_000)), "bytes that are no ciphertext"),
    "noise": (lambda: blob_of(os.urandom(31_000)), "bytes that are no ciphertext"),
    "cut off": (lambda: encrypted(KEY)[:-1], "ciphertext 1 of 1 is cut off"),
    "cut in its length": (
        lambda: encrypted_header_bytes(header_of(KEY).with_sum(1, 4)) + bytes(3),
        "too few for 1 ciphertexts",
    ),
    "more bytes": (lambda: encrypted(KEY) + b"\0", "bytes follow the 1 ciphertexts"),
    "three polynomials": (lambda: blob_of(_product()), "bytes are too many for 1 ciphertexts"),
    "one slot": (lambda: blob_of(_short()), "1 ciphertexts of 1 slots where one of 4096"),
    "ckks in bfv": (lambda: blob_of(body_of(encrypted(key_of(CKKS)))), "bytes that are no|bytes;"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_update_is_refused_and_the_sum_stays(
    kind: str, process: SumProcess, tmp_path: Path
) -> None:
    """With the reason, which the collector tells the agent; the process lives on."""
    make, said = BAD[kind]
    header = header_of(KEY).with_sum(1, 4)
    total = tmp_path / "sum"
    process.add(None, written(tmp_path / "good", encrypted(KEY)), total, header)
    before = total.read_bytes()
    with pytest.raises(EncryptionError, match=said):
        process.add(total, written(tmp_path / "bad", make()), total, header)
    assert total.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bad", "good", "sum"]
    process.add(total, tmp_path / "good", total, header)


def test_a_flipped_bit_is_refused_when_added_or_when_decrypted(
    process: SumProcess, tmp_path: Path
) -> None:
    """A digest of the blob finds it on the way; this finds what an agent itself made wrong."""
    header, blob, caught = header_of(KEY).with_sum(1, 4), encrypted(KEY), 0
    expected = decrypt_version(blob, LAYOUT, KEY)
    for place in [*range(0, 512, 7), *range(512, len(blob), len(blob) // 30)]:
        damaged = bytearray(blob)
        damaged[place] ^= 1 << (place % 8)
        try:
            process.add(None, written(tmp_path / "bad", bytes(damaged)), tmp_path / "sum", header)
            found = decrypt_version((tmp_path / "sum").read_bytes(), LAYOUT, KEY)
        except EncryptionError:
            caught += 1
        else:
            assert all((found[name] == expected[name]).all() for name in expected)
    assert caught > 90


def test_a_compressed_bomb_does_not_fill_the_memory(process: SumProcess, tmp_path: Path) -> None:
    """60 KB that zstandard makes 2 GiB of: the limit of the process ends it, if SEAL does not."""
    zstandard = pytest.importorskip("zstandard")
    body = body_of(encrypted(KEY))
    seal_header = body[body.index(b"\x5e\xa1") :][:16]
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    frame = b"".join(compressor.compress(bytes(2**24)) for _ in range(128)) + compressor.flush()
    frame = (frame + os.urandom(40_000))[:60_000]
    seal = seal_header[:8] + (16 + len(frame)).to_bytes(8, "little") + frame
    length = len(seal)
    message = b"\x0a\x02\x80\x20\x12" + bytes(
        [length & 127 | 128, length >> 7 & 127 | 128, length >> 14]
    )
    with pytest.raises(EncryptionError, match="bytes that are no ciphertext"):
        process.add(
            None,
            written(tmp_path / "bomb", blob_of(message + seal)),
            tmp_path / "sum",
            header_of(KEY),
        )
    assert process.pid is not None
    assert resource.prlimit(process.pid, resource.RLIMIT_AS)[0] == MAX_PROCESS_BYTES
    peak = next(
        int(line.split()[1])
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    assert peak * 1024 < MAX_PROCESS_BYTES


def test_a_crash_costs_one_update(
    public_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next update is added by a new process."""
    crashing = tmp_path / "crashing"
    crashing.write_text("#!/bin/sh\nread line\nkill -SEGV $$\n")
    crashing.chmod(0o700)
    good, process = written(tmp_path / "good", encrypted(KEY)), SumProcess(public_key)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(crashing))
        with pytest.raises(EncryptionError, match="ended with signal 11 while it read this update"):
            process.add(None, good, tmp_path / "sum", header_of(KEY))
        assert process.pid is None
    assert process.add(None, good, tmp_path / "sum", header_of(KEY)).count == 1
    process.close()
    process.close()


def test_a_process_that_ended_between_updates_is_started_again(
    public_key: Path, tmp_path: Path
) -> None:
    """The system may have ended it for lack of memory."""
    good, process = written(tmp_path / "good", encrypted(KEY)), SumProcess(public_key)
    process.add(None, good, tmp_path / "sum", header_of(KEY))
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert process.add(None, good, tmp_path / "sum", header_of(KEY)).count == 1
    assert process.pid != first
    process.close()


def test_a_request_that_no_process_can_read_is_sent_again(
    public_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended after it was looked at; the update is not at fault."""
    good, process = written(tmp_path / "good", encrypted(KEY)), SumProcess(public_key)
    process.add(None, good, tmp_path / "sum", header_of(KEY))
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    with monkeypatch.context() as patched:
        patched.setattr(subprocess.Popen, "poll", lambda _self: None)
        assert process.add(None, good, tmp_path / "sum", header_of(KEY)).count == 1
    assert process.pid != first
    process.close()


def test_a_process_that_hangs_is_ended(public_key: Path, tmp_path: Path) -> None:
    """Each addition has a time limit."""
    good, process = written(tmp_path / "good", encrypted(KEY)), SumProcess(public_key, 60)
    process.add(None, good, tmp_path / "sum", header_of(KEY))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    process.seconds = 0.1
    with pytest.raises(EncryptionError, match=r"adding this update took more than 0\.1 s"):
        process.add(None, good, tmp_path / "sum", header_of(KEY))
    process.seconds = 60
    assert process.add(None, good, tmp_path / "sum", header_of(KEY)).count == 1
    process.close()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "ended with exit code 3"),
        ("read line; echo '{}'", "an answer that cannot be read: {}"),
        ("read line; echo no JSON", "an answer that cannot be read: no JSON"),
        ("read line; printf x", "ended with exit code 0"),
    ],
)
def test_any_other_answer_is_a_refusal(
    script: str, said: str, public_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process that SEAL damaged may write."""
    (tmp_path / "odd").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "odd").chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "odd"))
    process = SumProcess(public_key)
    with pytest.raises(EncryptionError, match=said):
        process.add(None, tmp_path / "update", tmp_path / "sum", header_of(KEY))
    process.close()


def test_a_full_disk_is_no_fault_of_the_update(process: SumProcess, tmp_path: Path) -> None:
    """The collector must not refuse an update for it."""
    good = written(tmp_path / "good", encrypted(KEY))
    with pytest.raises(StoreError, match=r"add an encrypted update: .*No such file"):
        process.add(None, good, tmp_path / "missing" / "sum", header_of(KEY))
    with pytest.raises(StoreError, match="No such file"):
        process.add(None, tmp_path / "missing", tmp_path / "sum", header_of(KEY))


def test_a_round_of_another_key_or_of_other_parameters_is_refused(
    process: SumProcess, tmp_path: Path
) -> None:
    """The plan names the key; the collector has its file."""
    good, other = written(tmp_path / "good", encrypted(KEY)), key_of(number=1)
    with pytest.raises(EncryptionError, match=f"key {other.id[:12]} where this collector has"):
        process.add(None, good, tmp_path / "sum", header_of(other))
    wrong = replace(header_of(KEY), fields=1)
    with pytest.raises(EncryptionError, match="digest of the parameters is not that of the key's"):
        process.add(None, good, tmp_path / "sum", wrong)


def test_a_process_that_cannot_start_says_so(
    public_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key file that is a secret one, or no Python."""
    KEY.save(tmp_path / "secret.key")
    process = SumProcess(tmp_path / "secret.key")
    with pytest.raises(EncryptionError, match="ended with exit code 1"):
        process.add(None, tmp_path / "update", tmp_path / "sum", header_of(KEY))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    with pytest.raises(StoreError, match="the process that adds ciphertexts: "):
        SumProcess(public_key).add(None, tmp_path, tmp_path, header_of(KEY))
