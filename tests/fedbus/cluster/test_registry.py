"""Discovery of running clusters by other commands."""

import os
import stat
from pathlib import Path

import pytest

from fedbus.cluster import registry
from fedbus.cluster.registry import HomeLock, RunningCluster
from fedbus.errors import SettingsError


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def told(home: Path, started: float = 1.0) -> RunningCluster:
    """What a cluster says of itself."""
    return RunningCluster(
        home=str(home), pid=os.getpid(), broker="mqtt://user.cli:x@h:1", started=started
    )


def test_a_running_cluster_is_found_without_being_named(tmp_path: Path) -> None:
    """`fedbus agents` needs no option."""
    home = tmp_path / "home"
    with HomeLock(home) as claim:
        claim.publish(told(home))
        assert registry.find() == told(home)
        assert registry.find(home) == told(home)


def test_the_newest_of_several_is_found(tmp_path: Path) -> None:
    """Most likely it is the one that is meant; --cluster names another."""
    old, new = tmp_path / "old", tmp_path / "new"
    with HomeLock(old) as one, HomeLock(new) as two:
        one.publish(told(old, started=1.0))
        two.publish(told(new, started=2.0))
        assert registry.find() == told(new, started=2.0)
        assert registry.candidates(None) == [told(new, started=2.0), told(old, started=1.0)]
        assert registry.candidates(old) == [told(old, started=1.0)]


def test_a_choice_among_several_is_reported_unless_a_home_was_named(tmp_path: Path) -> None:
    """And where only one runs there was no choice."""
    old, new = tmp_path / "old", tmp_path / "new"
    heard: list[str] = []
    with HomeLock(new) as two:
        two.publish(told(new, started=2.0))
        assert registry.find(tell=heard.append) == told(new, started=2.0)
        with HomeLock(old) as one:
            one.publish(told(old, started=1.0))
            assert registry.find(old, heard.append) == told(old, started=1.0)
            assert heard == []
            assert registry.find(tell=heard.append) == told(new, started=2.0)
    (sentence,) = heard
    assert sentence.startswith(f"2 clusters run here; this command uses {new}, the newest. ")
    assert sentence.endswith(f"--cluster DIR chooses another: {old}")


def test_what_a_killed_cluster_left_is_not_taken_for_one(tmp_path: Path) -> None:
    """The file outlives a kill -9; the lock does not."""
    home = tmp_path / "home"
    with HomeLock(home) as claim:
        claim.publish(told(home))
        left = (home / registry.STATE).read_bytes()
        (home / "repository").mkdir()
    (home / registry.STATE).write_bytes(left)
    assert registry.read(home) == told(home)
    assert registry.find(home) is None
    assert registry.find() is None


def test_nothing_is_found_where_nothing_ever_was(tmp_path: Path) -> None:
    """A fresh machine has no state folder."""
    assert registry.find() is None
    assert registry.find(tmp_path) is None


def test_a_home_is_one_clusters_at_a_time(tmp_path: Path) -> None:
    """Two repositories in one folder would be the end of both."""
    with HomeLock(tmp_path) as claim:
        claim.publish(told(tmp_path))
        with pytest.raises(SettingsError, match=f"runs there already .process {os.getpid()}."):
            HomeLock(tmp_path).__enter__()
    with HomeLock(tmp_path):
        pass


def test_only_its_owner_reads_the_password(tmp_path: Path) -> None:
    """The file holds the person's login."""
    with HomeLock(tmp_path / "home") as claim:
        claim.publish(told(tmp_path / "home"))
        assert stat.S_IMODE((tmp_path / "home" / registry.STATE).stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700


def test_a_place_does_not_show_its_password() -> None:
    """A traceback is a log line too."""
    assert "user.cli:x" not in repr(told(Path("home")))


@pytest.mark.parametrize("gone", [True, False])
def test_a_cluster_that_was_killed_is_forgotten(tmp_path: Path, *, gone: bool) -> None:
    """The next command that finds its link removes it, whether its home exists or not."""
    home = tmp_path / "home"
    with HomeLock(home) as claim:
        claim.publish(told(home))
        links = registry.state_folder() / "clusters"
        (link,) = links.iterdir()
    assert list(links.iterdir()) == []  # it ended as it should
    if not gone:
        home.mkdir()
    link.symlink_to(home)
    assert registry.find() is None
    assert list(links.iterdir()) == []


def test_a_home_of_a_cluster_that_never_lived_is_taken_back(tmp_path: Path) -> None:
    """With the folders that were made for it, and nothing that was there before."""
    old, new = tmp_path / "old", tmp_path / "new" / "home"
    old.mkdir()
    (old / "models").mkdir()
    for home in (old, new):
        with HomeLock(home) as claim:
            (home / "logs").mkdir()
            (home / "half").write_bytes(b"")
            claim.undo()
    assert {path.name for path in old.iterdir()} == {"models", "logs", "half", registry.LOCK}
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_home_of_a_cluster_that_lived_is_kept(tmp_path: Path) -> None:
    """It holds data of the user."""
    home = tmp_path / "home"
    with HomeLock(home) as claim:
        (home / "repository").mkdir()
        claim.keep()
        claim.undo()
    assert (home / "repository").is_dir()
    with HomeLock(home):  # a lock file that was left does not matter
        pass


def test_a_lock_that_was_removed_meanwhile_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or two would hold one each: an ending cluster removes it after the next has opened it."""
    home, opened = tmp_path / "home", os.open

    def late(path: Path, *how: int) -> int:
        monkeypatch.undo()
        lock = opened(path, *how)
        path.unlink()
        return lock

    monkeypatch.setattr(os, "open", late)
    with HomeLock(home), pytest.raises(SettingsError, match="runs there already"):
        HomeLock(home).__enter__()


def test_a_home_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    """Not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(
        SettingsError, match=r"file/home: expected a folder, found a file; --cluster"
    ):
        HomeLock(tmp_path / "file" / "home").__enter__()
