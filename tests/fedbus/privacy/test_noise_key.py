"""A noise key that another user could read is no secret, and is refused with the mend."""

import os
from pathlib import Path

import pytest

from fedbus.errors import SettingsError, StoreError
from fedbus.privacy.noise_key import (
    NoiseKey,
    create_noise_key,
    keep_noise_key,
    read_noise_key,
)

SECRET = bytes(range(32))


def written(path: Path, content: bytes = SECRET, mode: int = 0o600) -> Path:
    """Return a file with this content and mode."""
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_created_key_is_read_back(tmp_path: Path) -> None:
    """It is there at once, with 32 bytes, for its owner only, and no other file beside it."""
    made = create_noise_key(tmp_path / "key")
    assert read_noise_key(tmp_path / "key") == made
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
    assert create_noise_key(tmp_path / "other") != made


def test_no_key_is_replaced(tmp_path: Path) -> None:
    """Running jobs would end: their plans name the digest of the key that is gone."""
    made = create_noise_key(tmp_path / "key", lambda count: SECRET[:count])
    with pytest.raises(SettingsError, match="key: this file exists; jobs that run need their key"):
        create_noise_key(tmp_path / "key")
    assert read_noise_key(tmp_path / "key") == made
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
    for folder in ("missing", "key"):
        with pytest.raises(SettingsError, match=f"there is no folder .*{folder}; make it with"):
            create_noise_key(tmp_path / folder / "key")
    with pytest.raises(StoreError, match="File name too long"):
        create_noise_key(tmp_path / ("n" * 255))


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    """The next process with its number could otherwise make no key."""
    (tmp_path / f".key.{os.getpid()}.new").write_bytes(b"half")
    create_noise_key(tmp_path / "key")
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_the_owner_s_own_file_is_read(tmp_path: Path, mode: int) -> None:
    """Also through a symbolic link, as which secrets of Kubernetes are mounted."""
    path = written(tmp_path / "key", mode=mode)
    (tmp_path / "link").symlink_to(path)
    assert read_noise_key(path) == read_noise_key(tmp_path / "link") == NoiseKey(SECRET)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o444, 0o440])
def test_a_file_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    """0444 is what a Docker swarm gives a secret, so the sentence says how to set another."""
    path = written(tmp_path / "key", mode=mode)
    with pytest.raises(SettingsError) as caught:
        read_noise_key(path)
    said = str(caught.value)
    assert f"its mode is {mode:04o}" in said
    assert f"chmod 600 {path}" in said
    assert "mode: 0400" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected 32 bytes, got 0"),
        (SECRET[:31], "expected 32 bytes, got 31"),
        (SECRET + b"\n", "expected 32 bytes, got more"),
        (bytes(32), "many bytes are equal"),
        (b"7" * 32, "many bytes are equal"),
    ],
)
def test_what_is_no_key_is_refused_without_showing_it(
    tmp_path: Path, content: bytes, said: str
) -> None:
    """A file that was cut off, or a password with a line feed."""
    with pytest.raises(SettingsError, match=said) as caught:
        read_noise_key(written(tmp_path / "key", content))
    assert "fedbus privacy key FILE" in str(caught.value)
    assert content[:8].decode("latin1") not in str(caught.value) or not content


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    """A pipe would keep the collector waiting for its other end."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("pipe", "."):
        with pytest.raises(SettingsError, match="no regular file"):
            read_noise_key(tmp_path / name)
    with pytest.raises(SettingsError, match="there is no such file; make one with"):
        read_noise_key(tmp_path / "missing")
    with pytest.raises(SettingsError, match="File name too long"):
        read_noise_key(tmp_path / ("n" * 300))


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner can read the key, and change it. Only the system's user is trusted as well."""
    path = written(tmp_path / "key")
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner != 0:
        with pytest.raises(SettingsError, match=rf"belongs to user {owner}, .* chown {owner + 1} "):
            read_noise_key(path)
    else:
        assert read_noise_key(path) == NoiseKey(SECRET)
        os.chown(path, 12345, -1)
        with pytest.raises(SettingsError, match=r"belongs to user 12345, .* chown 1 "):
            read_noise_key(path)


def test_a_file_that_may_not_be_read_says_as_which_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root-owned secret with the mode 0400 in a container that runs as another user."""

    def refuse(_path: object, _flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SettingsError, match=f"user {os.geteuid()}, as which this process runs"):
        read_noise_key(tmp_path / "key")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"correct horse battery staple 123", "it is text, not random bytes, so it may be guessed"),
        (b"0123456789abcdef0123456789ABCDEF", "it is text, not random bytes, so it may be guessed"),
        (bytes(range(16)) + bytes(16), ""),
        (bytes(range(15)) + bytes(17), "many bytes are equal, so they are not random"),
    ],
)
def test_a_key_that_could_be_guessed_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    """Its digest is public, so that a guess can be tried without asking anyone."""
    path = written(tmp_path / "key", content)
    if not said:
        assert read_noise_key(path) == NoiseKey(content)
        return
    with pytest.raises(SettingsError, match=f"noise key .*: {said}; make one with"):
        read_noise_key(path)


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    """A cluster that starts again has the key of the jobs that it goes on with."""
    made = keep_noise_key(tmp_path / "key")
    assert keep_noise_key(tmp_path / "key") == made
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(SettingsError, match="its mode is 0644"):
        keep_noise_key(tmp_path / "key")
