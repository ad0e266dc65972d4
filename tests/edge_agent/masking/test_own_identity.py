"""Identity of an agent: made once, read again, announced without a large package."""

import subprocess
import sys
from pathlib import Path

import pytest

from fedbus.errors import SettingsError, StoreError
from fedbus.secure_aggregation.identity_key import is_signed
from fedbus_edge_agent.masking.own_identity import KEY_FILE, PUBLIC_FILE, OwnIdentity

READ = """
import sys
from pathlib import Path
from fedbus_edge_agent.masking.own_identity import OwnIdentity
print(OwnIdentity.keep("agent.a", Path(sys.argv[1])).public)
assert "cryptography" not in sys.modules
"""


def test_an_identity_lasts_as_long_as_its_file(tmp_path: Path) -> None:
    """Only its owner can read it; what it signs is checked with the public half."""
    made = OwnIdentity.keep("agent.a", tmp_path / "a")
    assert OwnIdentity.keep("agent.a", tmp_path / "a") == made
    assert (tmp_path / "a" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert is_signed(b"message", made.key.sign(b"message"), made.public)
    assert OwnIdentity.keep("agent.b", tmp_path / "b").public != made.public


def test_the_public_half_is_read_without_loading_cryptography(tmp_path: Path) -> None:
    """It is 7 MB, which an agent that takes part in no masked round does not need."""
    made = OwnIdentity.keep("agent.a", tmp_path)
    command = [sys.executable, "-c", READ, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == made.public


@pytest.mark.parametrize("content", [b"", b"ab cd\n", b"\xff", b"zz" * 32 + b" x\n"])
def test_a_public_half_that_is_not_the_keys_is_made_again(content: bytes, tmp_path: Path) -> None:
    """Because the key's file was replaced, or this one damaged."""
    made = OwnIdentity.keep("agent.a", tmp_path)
    (tmp_path / PUBLIC_FILE).write_bytes(content)
    assert OwnIdentity.keep("agent.a", tmp_path) == made
    (tmp_path / KEY_FILE).unlink()
    assert OwnIdentity.keep("agent.a", tmp_path).public != made.public


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """With the command that mends it."""
    OwnIdentity.keep("agent.a", tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        OwnIdentity.keep("agent.a", tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """Both for the key and for its public half."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        OwnIdentity.keep("agent.a", tmp_path / "file")
    OwnIdentity.keep("agent.a", tmp_path)
    (tmp_path / PUBLIC_FILE).unlink()
    (tmp_path / PUBLIC_FILE).mkdir()
    with pytest.raises(StoreError, match=PUBLIC_FILE):
        OwnIdentity.keep("agent.a", tmp_path)
