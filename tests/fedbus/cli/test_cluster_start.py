"""Lines of `fedbus up` about the cluster that it starts."""

from pathlib import Path

from fedbus.cli.cluster_start import describe_key
from fedbus.encryption.key_files import generate_key_files
from fedbus.encryption.parameters import choose_parameters


def test_a_cluster_says_which_key_it_has_found(tmp_path: Path) -> None:
    """By the folder and the first digits of the key's id; without keys it says nothing."""
    folder = tmp_path / "keys"
    assert not describe_key(folder)
    made = generate_key_files(folder, choose_parameters(scheme="bfv", bits=11, agents=10))
    assert describe_key(folder) == f"encrypted jobs use the keys in {folder}, key {made.id[:12]}"
