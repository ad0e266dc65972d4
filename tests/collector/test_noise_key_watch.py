"""The collector's noise key: whatever happens to its file, rounds and the node's state follow."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedbus.core.actions import AnnounceNoiseKey, Trouble
from fedbus.core.events import Connected
from fedbus.errors import SettingsError
from fedbus.privacy.noise_key import NoiseKey, create_noise_key
from fedbus.runtime.identity import Identity
from fedbus_collector import keys
from fedbus_collector.app import CollectorSettings, build, watch_of
from fedbus_collector.noise_key_watch import NO_KEY, POLL_SECONDS, NoiseKeyWatch
from tests.collector.harness import CONTROLLER, JOB, Harness, order
from tests.collector.private_rounds import PrivateParts, PrivateRound, strategy


def announced(harness: Harness) -> list[str | None]:
    """List the digests that the last event has announced."""
    return [action.digest for action in harness.last if isinstance(action, AnnounceNoiseKey)]


def troubles(harness: Harness) -> list[str]:
    """List the sentences that the last event has reported."""
    return [action.sentence for action in harness.last if isinstance(action, Trouble)]


def removed(path: Path) -> None:
    """Remove the file."""
    path.unlink()


def opened_to_all(path: Path) -> None:
    """Make it readable for all users."""
    path.chmod(0o644)


def cut(path: Path) -> None:
    """Shorten it."""
    path.write_bytes(path.read_bytes()[:31])


def changed(path: Path) -> None:
    """Put another key there."""
    path.unlink()
    create_noise_key(path)


@pytest.mark.parametrize(
    ("happen", "sentence"),
    [
        (removed, "there is no such file; make one with `fedbus privacy key FILE`"),
        (opened_to_all, "its mode is 0644, so other users can read the key or change it: chmod"),
        (cut, "expected 32 bytes, got 31"),
    ],
)
def test_a_key_that_cannot_be_used_fails_the_round_and_is_announced(
    happen: Callable[[Path], None], sentence: str, tmp_path: Path
) -> None:
    """The controller then plans no round that needs noise."""
    round_ = PrivateRound(tmp_path)
    happen(round_.path)
    round_.receive(CONTROLLER, round_.order())
    round_.run_calls()
    assert round_.ended.reason.startswith(f"noise key {round_.path}: {sentence}")
    assert announced(round_) == [None]
    assert troubles(round_) == [round_.ended.reason]
    assert len(round_.noted("noise_key_unusable")) == 1
    round_.receive(CONTROLLER, round_.order(task=2))
    round_.run_calls()
    assert announced(round_) == []


def test_a_key_that_has_changed_fails_the_round_and_is_announced(tmp_path: Path) -> None:
    """Noise of another key could be drawn twice for one sum."""
    round_ = PrivateRound(tmp_path)
    planned = round_.noise_key.digest[:12]
    changed(round_.path)
    round_.receive(CONTROLLER, round_.order())
    round_.run_calls()
    held = NoiseKey(round_.path.read_bytes()).digest
    assert round_.ended.reason == (
        f"noise key {round_.path}: the file has changed: it holds key {held[:12]} now, the plan's "
        f"is {planned}; put the same file on all collectors"
    )
    assert announced(round_) == [held]
    assert troubles(round_) == []


def test_a_key_that_is_not_the_plans_fails_the_round(tmp_path: Path) -> None:
    """The job began with the key of another collector."""
    round_ = PrivateRound(tmp_path)
    round_.receive(CONTROLLER, round_.order(noise_key="0" * 64))
    round_.run_calls()
    assert round_.ended.reason == (
        f"noise key {round_.path}: the file holds key {round_.noise_key.digest[:12]}, the plan's "
        "is 000000000000; put the same file on all collectors"
    )
    assert announced(round_) == []


def test_a_changed_key_that_is_the_plans_is_used_and_announced(tmp_path: Path) -> None:
    """The right file was put there since it was read last."""
    round_ = PrivateRound(tmp_path)
    changed(round_.path)
    right = NoiseKey(round_.path.read_bytes()).digest
    round_.receive(CONTROLLER, round_.order(cohort=(), quorum=0, noise_key=right))
    round_.run_calls()
    assert announced(round_) == [right]
    assert keys.LayoutFetch(JOB, 1) in round_.fetches


def test_a_collector_without_a_key_fails_rounds_that_need_one() -> None:
    """The sentence says how to make one."""
    harness = Harness(parts=PrivateParts())
    harness.receive(CONTROLLER, order(strategy=strategy(), noise_key="0" * 64))
    assert harness.ended.reason == NO_KEY
    harness.handle(Connected())
    assert announced(harness) == [None]
    assert harness.timers == {}


def put_back(path: Path) -> None:
    """Set its own mode again."""
    path.chmod(0o600)


def test_the_file_is_read_now_and_then(tmp_path: Path) -> None:
    """A key that is lost between two rounds is announced, and so is one that is put back."""
    harness = PrivateRound(tmp_path)
    digest = harness.noise_key.digest
    harness.handle(Connected())
    assert announced(harness) == [digest]
    for happen, digests, sentences in (
        (put_back, [], []),
        (opened_to_all, [None], ["noise key"]),
        (opened_to_all, [], []),
        (put_back, [digest], [""]),
        (put_back, [], []),
    ):
        happen(harness.path)
        harness.wait(POLL_SECONDS)
        harness.run_calls()
        assert announced(harness) == digests
        assert [sentence[:9] for sentence in troubles(harness)] == sentences


def test_no_setting_means_no_key(tmp_path: Path) -> None:
    """The key of the setting is read at the start."""
    assert (watch_of(None).path, watch_of(None).digest) == (None, None)
    path = tmp_path / "noise.key"
    digest = create_noise_key(path).digest
    assert (watch_of(path).path, watch_of(path).digest) == (path, digest)
    path.chmod(0o640)
    with pytest.raises(SettingsError, match=rf"FEDBUS_NOISE_KEY: noise key {path}: its mode is"):
        watch_of(path)


def test_a_collector_does_not_start_with_a_key_that_it_cannot_use(tmp_path: Path) -> None:
    """The error names the setting and how to mend the file."""
    identity = Identity(name="collector.1", incarnation=1)
    path = tmp_path / "noise.key"
    with pytest.raises(SettingsError, match=r"FEDBUS_NOISE_KEY: noise key .*: there is no such"):
        build(CollectorSettings(noise_key=path), identity)
    digest = create_noise_key(path).digest
    built = build(CollectorSettings(noise_key=path), identity)
    connected = list(built.core.handle(Connected(), 0.0))
    assert connected[0] == AnnounceNoiseKey(digest)


def test_a_watch_states_no_secret(tmp_path: Path) -> None:
    """It keeps the digest only."""
    path = tmp_path / "noise.key"
    key = create_noise_key(path)
    assert key.secret not in vars(NoiseKeyWatch(path, key)).values()
