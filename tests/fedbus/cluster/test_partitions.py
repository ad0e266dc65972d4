"""Partitions of a local cluster's agents."""

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


def test_agents_are_named_after_their_partitions(tmp_path: Path) -> None:
    """In the order a person counts in."""
    lay(tmp_path, "agent.10.npz", "agent.9.npz", "agent.kitchen.npz", "held_out.npz")
    assert partition_names(tmp_path, None) == ["9", "10", "kitchen"]
    assert partition_names(tmp_path, 2) == ["9", "10"]


def test_partitions_without_an_agent_are_named(tmp_path: Path) -> None:
    """Fewer agents than partitions train on only a part of the data."""
    lay(tmp_path, "agent.10.npz", "agent.9.npz", "agent.1.npz", "agent.b.csv", "held_out.npz")
    assert left_out(tmp_path, 1) == "2 of 3 partitions have no agent: agent.9.npz, agent.10.npz"
    assert left_out(tmp_path, 3, ANYTHING) == "1 of 4 partitions have no agent: agent.b.csv"
    assert not left_out(tmp_path, 3)
    assert not left_out(tmp_path, None)


@pytest.mark.parametrize(
    ("names", "agents", "sentence"),
    [
        pytest.param((), None, "expected files agent.NAME.npz", id="empty"),
        pytest.param(("agent.1.npz",), None, "expected held_out.npz", id="nothing-held-out"),
        pytest.param(
            ("agent.1.npz", "held_out.npz"),
            2,
            "expected 2 partitions for 2 agents, found 1",
            id="few",
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


def test_partitions_of_any_format_are_found(tmp_path: Path) -> None:
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
        ((), "expected files or folders agent.NAME"),
        (("agent.1.csv",), "expected one held_out.* found 0"),
        (("agent.1.csv", "held_out.csv", "held_out.npz"), "expected one held_out.* found 2"),
        (("agent.1.csv", "agent.1.npz", "held_out.csv"), "two partitions have one name"),
    ],
)
def test_partitions_of_any_format_are_refused_with_the_reason(
    tmp_path: Path, names: tuple[str, ...], sentence: str
) -> None:
    """As those of ours are."""
    with pytest.raises(SettingsError, match=sentence):
        partition_paths(lay(tmp_path, *names), None)


def test_too_many_agents_for_the_digits_is_a_sentence(tmp_path: Path) -> None:
    """It comes back from the process that writes them."""
    pytest.importorskip("sklearn")
    with pytest.raises(
        SettingsError, match=r"^the digits cannot be partitioned: .* rows for 5000 agents"
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
    with pytest.raises(SettingsError, match="pip install scikit-learn, or pass your own"):
        partitions.write_digits(tmp_path, 2)
