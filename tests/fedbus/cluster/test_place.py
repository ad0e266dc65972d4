"""How other commands find a cluster that runs here."""

import os
import stat
from pathlib import Path

import pytest

from fedbus.cluster import place
from fedbus.cluster.place import Claim, Place
from fedbus.errors import SettingsError


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def told(home: Path, started: float = 1.0) -> Place:
    """What a cluster says of itself."""
    return Place(home=str(home), pid=os.getpid(), broker="mqtt://user.cli:x@h:1", started=started)


def test_a_running_cluster_is_found_without_being_named(tmp_path: Path) -> None:
    """`fedbus agents` needs no option."""
    home = tmp_path / "home"
    with Claim(home) as claim:
        claim.publish(told(home))
        assert place.find() == told(home)
        assert place.find(home) == told(home)


def test_the_newest_of_several_is_found(tmp_path: Path) -> None:
    """Most likely it is the one that is meant; --cluster names another."""
    old, new = tmp_path / "old", tmp_path / "new"
    with Claim(old) as one, Claim(new) as two:
        one.publish(told(old, started=1.0))
        two.publish(told(new, started=2.0))
        assert place.find() == told(new, started=2.0)


def test_what_a_killed_cluster_left_is_not_taken_for_one(tmp_path: Path) -> None:
    """The file outlives a kill -9; the lock does not."""
    home = tmp_path / "home"
    with Claim(home) as claim:
        claim.publish(told(home))
        left = (home / place.STATE).read_bytes()
    (home / place.STATE).write_bytes(left)
    assert place.read(home) == told(home)
    assert place.find(home) is None
    assert place.find() is None


def test_nothing_is_found_where_nothing_ever_was(tmp_path: Path) -> None:
    """A fresh machine has no state folder."""
    assert place.find() is None
    assert place.find(tmp_path) is None


def test_a_home_is_one_clusters_at_a_time(tmp_path: Path) -> None:
    """Two repositories in one folder would be the end of both."""
    with Claim(tmp_path) as claim:
        claim.publish(told(tmp_path))
        with pytest.raises(SettingsError, match=f"runs there already .process {os.getpid()}."):
            Claim(tmp_path).__enter__()
    with Claim(tmp_path):
        pass


def test_only_its_owner_reads_the_password(tmp_path: Path) -> None:
    """The file holds the person's login."""
    with Claim(tmp_path / "home") as claim:
        claim.publish(told(tmp_path / "home"))
        assert stat.S_IMODE((tmp_path / "home" / place.STATE).stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700


def test_a_place_does_not_show_its_password() -> None:
    """A traceback is a log line too."""
    assert "user.cli:x" not in repr(told(Path("home")))


def test_a_home_that_was_deleted_is_forgotten(tmp_path: Path) -> None:
    """Links to it are swept away by whoever comes across them."""
    home = tmp_path / "home"
    with Claim(home) as claim:
        claim.publish(told(home))
    for file in home.iterdir():
        file.unlink()
    home.rmdir()
    assert place.find() is None
    assert list((place.state_folder() / "clusters").iterdir()) == []


def test_a_home_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    """Not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"file/home: a file is in its way; --home"):
        Claim(tmp_path / "file" / "home").__enter__()
