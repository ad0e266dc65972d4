"""A key file of the wrong kind, mode or content is refused with the mend."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fedbus.encryption.key_check import check_pair
from fedbus.encryption.key_files import (
    PublicKey,
    SecretKey,
    generate_key_files,
    load_key,
)
from fedbus.errors import SettingsError, StoreError
from tests.fedbus.encryption.encryption_examples import BFV, CKKS, key_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the files of one key."""
    key_of().save(tmp_path / "secret.key")
    key_of().public.save(tmp_path / "public.key")
    return tmp_path


def test_keys_are_read_back(folder: Path) -> None:
    """By their own loaders, and by that for both kinds."""
    secret, public = folder / "secret.key", folder / "public.key"
    assert SecretKey.load(secret) == load_key(secret) == key_of()
    assert PublicKey.load(public) == load_key(public) == key_of().public
    assert secret.stat().st_mode & 0o777 == 0o600
    assert SecretKey.load(secret).id == PublicKey.load(public).id
    assert len(public.read_bytes()) < 200_000


def test_a_secret_is_in_no_text_of_a_key() -> None:
    """A log that shows a key must not contain it."""
    assert "context" not in repr(key_of())


def test_the_two_kinds_are_not_confused(folder: Path) -> None:
    """A collector with the secret key could read every update."""
    with pytest.raises(
        SettingsError, match=r"only agents may have; remove it .* name the file public\.key"
    ):
        PublicKey.load(folder / "secret.key")
    for mode in (0o644, 0o600):
        (folder / "public.key").chmod(mode)
        with pytest.raises(SettingsError, match=r"cannot decrypt; name the file secret\.key"):
            SecretKey.load(folder / "public.key")


def test_a_secret_that_others_can_read_is_refused(folder: Path) -> None:
    """With the command that changes its mode."""
    (folder / "secret.key").chmod(0o640)
    with pytest.raises(SettingsError, match=r"its mode is 0640, .* chmod 600"):
        SecretKey.load(folder / "secret.key")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "this is no key file; make a pair with `fedbus keys generate FOLDER`"),
        (b"\xff\xfe", "this is no key file"),
        (b"[1]", "this is no key file"),
        (b'{"kind": "fedbus noise key"}', "this is no key file"),
        (b'{"kind": "fedbus public encryption key", "version": 2}', "version 2 of the file"),
        (b'{"kind": "fedbus public encryption key", "version": 1}', "part 'public' is damaged"),
    ],
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    """A file of another program, or of a newer fedbus."""
    path = tmp_path / "key"
    path.write_bytes(content)
    for load in (PublicKey.load, load_key):
        with pytest.raises(SettingsError, match=said):
            load(path)


def test_a_file_that_is_missing_or_none_is_refused(tmp_path: Path) -> None:
    """A named pipe would let the service wait."""
    for load in (PublicKey.load, SecretKey.load):
        with pytest.raises(SettingsError, match="there is no such file; make a pair with"):
            load(tmp_path / "missing")
        with pytest.raises(SettingsError, match="this is no regular file"):
            load(tmp_path)
    with pytest.raises(SettingsError, match="File name too long"):
        PublicKey.load(tmp_path / ("n" * 300))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("id", "0" * 64, "does not have the id 000000000000, so it was changed"),
        ("public", "AAAA", "so it was changed; copy the file again"),
        ("public", "?", "its part 'public' is damaged"),
        ("parameters", {}, "its parameters cannot be read"),
        ("parameters", {"coeff_mod_bit_sizes": 7}, "its parameters cannot be read"),
        (
            "parameters",
            {
                "scheme": "bfv",
                "poly_modulus_degree": 1024,
                "coeff_mod_bit_sizes": [54, 55],
                "plain_modulus": 65537,
            },
            "at most 27 are as secure as 128 bits",
        ),
    ],
)
def test_a_changed_file_is_refused(folder: Path, name: str, value: object, said: str) -> None:
    """The id covers all that the services use."""
    path = folder / "public.key"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {name: value}))
    with pytest.raises(SettingsError, match=said):
        PublicKey.load(path)


def test_a_file_that_is_too_long_is_not_parsed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 MiB are ten times the longest key."""
    monkeypatch.setattr("fedbus.encryption.key_files._MOST_KEY_BYTES", 1000)
    for load, name in ((PublicKey.load, "public.key"), (SecretKey.load, "secret.key")):
        with pytest.raises(SettingsError, match="this is no key file"):
            load(folder / name)


def test_keys_of_a_folder_are_made_once(tmp_path: Path) -> None:
    """Its folder is made with it."""
    made = generate_key_files(tmp_path / "a" / "b", CKKS)
    assert PublicKey.load(tmp_path / "a" / "b" / "public.key") == made.public
    with pytest.raises(SettingsError, match="this file exists; versions that its key encrypted"):
        generate_key_files(tmp_path / "a" / "b", CKKS)
    with pytest.raises(StoreError, match=r"File exists|Not a directory"):
        generate_key_files(tmp_path / "a" / "b" / "public.key" / "c", CKKS)


@pytest.mark.parametrize("parameters", [BFV, CKKS])
def test_a_pair_adds_and_decrypts(parameters: object) -> None:
    """What `fedbus keys check` does."""
    key = key_of(parameters)  # type: ignore[arg-type] # both are parameters
    assert check_pair(key, key.public) == 3


def test_what_is_no_pair_is_refused() -> None:
    """The files of two keys, or a secret that was put into another file."""
    one, other = key_of(), key_of(number=1)
    assert one.id != other.id
    with pytest.raises(SettingsError, match=f"the secret key is {one.id[:12]}, the public one"):
        check_pair(one, other.public)
    with pytest.raises(SettingsError, match="has another public part than its file says"):
        check_pair(replace(one, context=other.context), one.public)
    with pytest.raises(SettingsError, match="cannot decrypt a sum: no context of TenSEAL"):
        check_pair(replace(one, context=b"no context"), one.public)
    with pytest.raises(SettingsError, match="cannot decrypt a sum"):
        check_pair(replace(one, context=one.public.context), one.public)
