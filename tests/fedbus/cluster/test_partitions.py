"""The shards a local cluster trains on."""

from pathlib import Path

import pytest

from fedbus.cluster import partitions
from fedbus.cluster.partitions import ANYTHING, left_out, partition_names, partition_paths
from fedbus.errors import SettingsError, StoreError


def lay(folder: Path, *names: str) -> Path:
    """Put empty files into a folder: only their names are looked at."""
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_agents_are_named_after_their_shards(tmp_path: Path) -> None:
    """In the order a person counts in."""
    lay(tmp_path, "agent.10.npz", "agent.9.npz", "agent.kitchen.npz", "held_out.npz")
    assert partition_names(tmp_path, None) == ["9", "10", "kitchen"]
    assert partition_names(tmp_path, 2) == ["9", "10"]


def test_shards_that_no_agent_gets_are_named(tmp_path: Path) -> None:
    """Whoever asks for fewer agents than there are shards trains on less than they have."""
    lay(tmp_path, "agent.10.npz", "agent.9.npz", "agent.1.npz", "agent.b.csv", "held_out.npz")
    assert left_out(tmp_path, 1) == "1 agents leave out 2 of 3 shards: agent.9.npz, agent.10.npz"
    assert left_out(tmp_path, 3, ANYTHING) == "3 agents leave out 1 of 4 shards: agent.b.csv"
    assert not left_out(tmp_path, 3)
    assert not left_out(tmp_path, None)


@pytest.mark.parametrize(
    ("names", "agents", "sentence"),
    [
        pytest.param((), None, "no shard agent", id="empty"),
        pytest.param(("agent.1.npz",), None, "no held_out.npz there", id="nothing-held-out"),
        pytest.param(
            ("agent.1.npz", "held_out.npz"), 2, "1 shards, and 2 agents were asked for", id="few"
        ),
        pytest.param(
            ("agent.a b.npz", "held_out.npz"), None, "'a b' cannot be an agent's name", id="space"
        ),
        pytest.param(
            ("agent.evaluator.npz", "held_out.npz"), None, "'evaluator' cannot be", id="taken"
        ),
    ],
)
def test_unusable_data_is_refused_with_what_is_wrong(
    tmp_path: Path, names: tuple[str, ...], agents: int | None, sentence: str
) -> None:
    """Before a single process is started."""
    with pytest.raises(SettingsError, match=sentence):
        partition_names(lay(tmp_path, *names), agents)


def test_shards_of_any_kind_are_found_for_a_loader_of_ones_own(tmp_path: Path) -> None:
    """A file without its suffix, a folder as it is."""
    (tmp_path / "agent.b.2").mkdir()
    lay(tmp_path, "agent.a.txt", "held_out.txt", "held_out_of_something.txt")
    found, held_out = partition_paths(tmp_path, None)
    assert {name: path.name for name, path in found.items()} == {
        "a": "agent.a.txt",
        "b.2": "agent.b.2",
    }
    assert held_out.name == "held_out.txt"
    assert [*partition_paths(tmp_path, 1)[0]] == ["a"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), "nothing is named agent.NAME there"),
        (("agent.1.csv",), "0 are named held_out there"),
        (("agent.1.csv", "held_out.csv", "held_out.npz"), "2 are named held_out there"),
        (("agent.1.csv", "agent.1.npz", "held_out.csv"), "two agent.NAME of one name"),
    ],
)
def test_shards_of_any_kind_are_refused_with_what_is_wrong(
    tmp_path: Path, names: tuple[str, ...], sentence: str
) -> None:
    """As those of ours are."""
    with pytest.raises(SettingsError, match=sentence):
        partition_paths(lay(tmp_path, *names), None)


def test_too_many_agents_for_the_digits_is_a_sentence(tmp_path: Path) -> None:
    """It comes back from the process that writes them."""
    pytest.importorskip("sklearn")
    with pytest.raises(
        SettingsError, match=r"^the digits cannot be dealt: .* rows for 5000 agents"
    ):
        partitions.write_digits(tmp_path, 5000)


def test_digits_that_find_no_room_are_no_wrong_setting(tmp_path: Path) -> None:
    """What was asked for was right."""
    pytest.importorskip("sklearn")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/x: the digits cannot be written: .*directory"):
        partitions.write_digits(tmp_path / "file" / "x", 2)


def test_missing_scikit_learn_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them."""
    monkeypatch.setattr(partitions, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match="pip install scikit-learn, or bring data"):
        partitions.write_digits(tmp_path, 2)
