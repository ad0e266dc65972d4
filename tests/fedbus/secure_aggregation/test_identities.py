"""Identity keys: the file, signatures, and identities of others."""

import re
from os import chown
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from fedbus.errors import MaskingError, SettingsError, StoreError
from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.secure_aggregation.identity_key import IdentityKey, is_signed, keep_identity_key
from fedbus.secure_aggregation.known_identities import KnownIdentities, read_pinned_identities

KEY, OTHER = "0a" * 32, "0b" * 32


def test_a_key_is_created_once_for_its_owner_alone(tmp_path: Path) -> None:
    """The identity lasts as long as the file."""
    path = tmp_path / "identity.key"
    made = keep_identity_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keep_identity_key(path) == made
    assert len(made.public) == 64


def test_a_key_is_in_no_log() -> None:
    """Its `repr` has no byte of it."""
    assert repr(IdentityKey(b"secret key" * 3 + b"!!")) == "IdentityKey()"


def test_signatures_are_those_of_rfc_8032() -> None:
    """Section 7.1, test 1."""
    key = IdentityKey(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert key.public == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    signature = key.sign(b"")
    assert signature.hex().startswith(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
    )
    assert is_signed(b"", signature, key.public)
    assert not is_signed(b"other", signature, key.public)
    assert not is_signed(b"", signature, IdentityKey(bytes(32)).public)
    assert not is_signed(b"", signature, "00")


@given(private=st.binary(min_size=32, max_size=32))
def test_public_keys_are_those_of_cryptography(private: bytes) -> None:
    """They are computed without it, to save its memory."""
    other = ed25519.Ed25519PrivateKey.from_private_bytes(private).public_key()
    assert IdentityKey(private).public == other.public_bytes_raw().hex()


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The sentence says how to mend it."""
    path = tmp_path / "identity.key"
    keep_identity_key(path)
    path.chmod(0o640)
    with pytest.raises(
        SettingsError,
        match=re.escape(f"0640, so other users can read the key or change it: chmod 600 {path}"),
    ):
        keep_identity_key(path)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner can read the key, and put another in its place."""
    path = tmp_path / "identity.key"
    keep_identity_key(path)
    owner = path.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    if owner == 0:
        assert len(keep_identity_key(path).private) == 32  # a key of root is trusted
        chown(path, 1234, -1)
        owner = 1234
    with pytest.raises(
        SettingsError, match=re.escape(f"it belongs to user {owner}, who can read and change")
    ):
        keep_identity_key(path)


def test_a_file_that_is_no_key_is_refused_and_kept(tmp_path: Path) -> None:
    """It may be a key of another kind."""
    path = tmp_path / "identity.key"
    path.touch(0o600)
    path.write_bytes(b"short")
    with pytest.raises(SettingsError, match="expected 32 bytes"):
        keep_identity_key(path)
    assert path.read_bytes() == b"short"


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    """Nothing is created in its place."""
    with pytest.raises(SettingsError, match="no regular file"):
        keep_identity_key(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The key cannot be written."""
    with pytest.raises(StoreError, match=r"identity key: .*missing"):
        keep_identity_key(tmp_path / "missing" / "identity.key")


def test_the_first_announcement_counts_and_a_change_is_refused() -> None:
    """An operator of the broker could replace a key later."""
    known = KnownIdentities()
    assert not known.knows("agent.a")
    with pytest.raises(MaskingError, match=r"agent\.a is not known"):
        known.of("agent.a")
    known.announce("agent.a", KEY)
    known.announce("agent.a", KEY)
    assert known.knows("agent.a")
    assert known.of("agent.a") == KEY
    known.announce("agent.a", OTHER)
    with pytest.raises(MaskingError, match=r"agent\.a has changed"):
        known.of("agent.a")


def test_a_pinned_identity_wins() -> None:
    """Whatever is announced."""
    known = KnownIdentities({"agent.a": KEY})
    known.announce("agent.a", OTHER)
    assert known.knows("agent.a")
    assert known.of("agent.a") == KEY


@pytest.mark.parametrize("pinned", [{"agent.a": KEY}, {}])
def test_where_identities_are_pinned_no_other_agent_counts(pinned: dict[str, str]) -> None:
    """Who operates the broker could invent agents that it plays itself."""
    known = KnownIdentities(pinned)
    known.announce("agent.invented", OTHER)
    assert known.knows("agent.invented")  # there is nothing to wait for
    with pytest.raises(MaskingError, match=r"agent\.invented is not in the file of pinned"):
        known.of("agent.invented")


def test_announcements_are_bounded() -> None:
    """A broker that announces names without end fills no memory."""
    known = KnownIdentities()
    for number in range(MAX_COHORT_AGENTS + 5):
        known.announce(f"agent.{number}", KEY)
    assert known.of(f"agent.{MAX_COHORT_AGENTS - 1}") == KEY
    assert not known.knows(f"agent.{MAX_COHORT_AGENTS}")


def test_pinned_identities_are_read_line_by_line() -> None:
    """With comments, empty lines and capital digits."""
    text = f"# our agents\n\nagent.a {KEY}\n  agent.b   {OTHER.upper()}  \n"
    assert read_pinned_identities(text) == {"agent.a": KEY, "agent.b": OTHER}


@pytest.mark.parametrize(
    "line", ["agent.a", f"a {KEY}", "agent.a 0a0a", f"agent.a {KEY} more", f"agent.a {'x' * 64}"]
)
def test_a_line_of_another_form_is_refused(line: str) -> None:
    """A typing error must not leave an agent unpinned."""
    with pytest.raises(SettingsError, match=r"line 2: expected `agent\.NAME KEY`"):
        read_pinned_identities(f"\n{line}\n")


def test_an_agent_is_pinned_once() -> None:
    """Two lines may contradict each other."""
    with pytest.raises(SettingsError, match=r"line 2: agent\.a again"):
        read_pinned_identities(f"agent.a {KEY}\nagent.a {KEY}\n")
