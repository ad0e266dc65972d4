"""`--cluster` and `--broker` wherever they stand."""

import pytest

from fedbus.cli.inputs.global_options import move_to_front


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("agents --cluster a --all", "--cluster a agents --all"),
        ("--cluster a agents", "--cluster a agents"),
        ("job submit j.json --cluster=a --watch", "--cluster=a job submit j.json --watch"),
        ("job list --broker mqtt://h --json", "--broker mqtt://h job list --json"),
        ("up --agents 2 --cluster a", "--cluster a up --agents 2"),
        ("infer m x.json -- --cluster", "infer m x.json -- --cluster"),
        ("agents --cluster", "agents --cluster"),
        ("models push --clusters a", "models push --clusters a"),
        ("", ""),
    ],
)
def test_options_of_the_command_itself_are_found_behind_its_commands(
    written: str, read: str
) -> None:
    """People write them where they think of them."""
    assert move_to_front(written.split()) == read.split()
