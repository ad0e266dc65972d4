"""Identity of an agent: made once, read again, announced without a large package."""

import subprocess
import sys
from pathlib import Path

import pytest

from fedbus.errors import SettingsError, StoreError
from fedbus.secure_aggregation.identity_key import is_signed
from fedbus_edge_agent.masking.own_identity import KEY_FILE, OwnIdentity

MAKE = """
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


def test_an_identity_is_made_without_loading_cryptography(tmp_path: Path) -> None:
    """It is 7 MB, which an agent that takes part in no masked round does not need."""
    command = [sys.executable, "-c", MAKE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == OwnIdentity.keep("agent.a", tmp_path).public


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """With the command that mends it."""
    OwnIdentity.keep("agent.a", tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        OwnIdentity.keep("agent.a", tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A file has the folder's name."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        OwnIdentity.keep("agent.a", tmp_path / "file")
