"""`fedbus data`, as a user and as a program use it."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fedbus.cli.main import app
from fedbus.data import arrays, npz
from fedbus.data.description import DatasetInfo
from fedbus.data.partition import SAMPLERS, partition_files
from fedbus.data.partition import plot as picture
from fedbus.errors import TrainingError

RUNNER = CliRunner()
CLASSES = 10


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write two hundred rows that know their number."""
    x = np.arange(200, dtype=np.float32)[:, None]
    np.savez(tmp_path / "all.npz", x=x, y=np.arange(200) % CLASSES)
    return tmp_path / "all.npz"


def split(*words: object) -> Any:  # noqa: ANN401 - what JSON holds
    """Run the command for a program."""
    done = RUNNER.invoke(app, ["data", "split", *map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(*words: object) -> str:
    """Run the command, to be refused; returns the exit code and the sentence."""
    done = RUNNER.invoke(app, ["data", *map(str, words)], env={"COLUMNS": "200"})
    assert done.exit_code != 0, done.output
    return f"{done.exit_code} {done.stderr}"


@pytest.mark.parametrize("by", SAMPLERS)
@pytest.mark.parametrize("most", [0, 1 << 20])
def test_every_sampler_writes_shards_that_an_agent_reads(
    source: Path, by: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row once, with its own truth, kept in memory or not."""
    monkeypatch.setattr(arrays, "KEPT_BYTES", most)
    monkeypatch.setattr(partition_files, "FILES_PER_PASS", 3)
    to = source.parent / "shards"
    words = ["--classes-per-agent", 4] if by == "mixed-label-quantity" else []
    said = split(source, "--to", to, "--agents", 5, "--by", by, "--min-partition-size", 8, *words)
    assert [agent["agent"] for agent in said["agents"]] == [f"agent.{n}" for n in range(1, 6)]
    seen: list[int] = []
    for agent in said["agents"]:
        data = npz(agent["file"])
        assert data.examples == agent["rows"] == sum(agent["classes"].values()) >= 8
        for x, y in data.batches():
            assert (x[:, 0] % CLASSES == y).all()
            seen += x[:, 0].astype(int).tolist()
    held = npz(str(to / "held_out.npz"))
    assert held.examples == said["held_out"] == 40
    kept = sorted(set(range(200)) - {int(n) for x, _ in held.batches() for n in x[:, 0]})
    times = 5 if by == "all-inclusive" else 1
    assert sorted(seen) == sorted(kept * times)
    assert 0 <= said["unevenness"] < 1
    assert sorted(path.name for path in to.iterdir()) == sorted(
        [*(f"agent.{n}.npz" for n in range(1, 6)), "held_out.npz"]
    )


def test_what_is_dealt_keeps_its_names(tmp_path: Path) -> None:
    """Else agents of shards could not be held to one list."""
    table = tmp_path / "t.csv"
    table.write_text(
        "a,b,kind\n" + "".join(f"{n % 7},{n % 3},{'oak' if n % 2 else 'elm'}\n" for n in range(40))
    )
    split(table, "--to", tmp_path / "s", "--agents", 2)
    split(table, "--to", tmp_path / "t", "--agents", 2, "--plot", tmp_path / "t" / "t.svg")
    info = npz(str(tmp_path / "s" / "agent.1.npz")).info
    assert (info.classes, info.columns) == (("elm", "oak"), ("a", "b"))


def test_the_same_seed_writes_the_same_bytes(source: Path) -> None:
    """Another one does not."""
    folder = source.parent
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        split(source, "--to", folder / name, "--agents", 3, "--seed", seed)
    one, same, other = ((folder / n / "agent.2.npz").read_bytes() for n in "abc")
    assert one == same != other


def test_options_reach_their_sampler(source: Path) -> None:
    """Numbers, lists of classes, lists of lists."""
    to = source.parent / "s"
    said = split(source, "--to", to, "--agents", 4, "--by", "orthogonal", "--institutions", "2")
    assert said["options"] == {"institutions": 2}
    groups = ["--institutions", "0,1;2,3,4,5,6,7,8,9"]
    said = split(source, "--to", to, "--agents", 2, "--by", "orthogonal", *groups, "--replace")
    assert {c for c, n in said["agents"][0]["classes"].items() if n} == {"0", "1"}
    assert not (to / "agent.4.npz").exists()
    words: list[object] = [
        "--by",
        "mixed-label-quantity",
        "--classes-per-agent",
        3,
        "--anchor-classes",
        "1,2,3",
    ]
    said = split(source, "--to", to, "--agents", 8, *words, "--replace", "--held-out", 0)
    assert {c for c, n in said["agents"][0]["classes"].items() if n} == {"1", "2", "3"}
    assert said["held_out"] == 0
    assert not (to / "held_out.npz").exists()


def test_a_person_sees_a_table_and_a_picture(source: Path) -> None:
    """Of one pass over the same rows."""
    pytest.importorskip("matplotlib")
    to = source.parent / "s"
    for suffix, head in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        file = to.with_suffix(suffix)
        words = ["--agents", "3", "--plot", str(file), "--replace"]
        done = RUNNER.invoke(app, ["data", "split", str(source), "--to", str(to), *words])
        assert done.exit_code == 0, done.output
        assert file.read_bytes().startswith(head)
        first = file.read_bytes()
        RUNNER.invoke(app, ["data", "split", str(source), "--to", str(to), *words])
        assert file.read_bytes() == first
    assert "agent.3" in done.stdout
    assert "200 rows in " in done.stdout
    assert "unevenness 0." in done.stdout
    svg = to.with_suffix(".svg").read_text(encoding="utf-8")
    assert "all.npz partitioned by dirichlet, seed 0" in svg


def test_many_agents_and_many_classes_have_a_picture_too(tmp_path: Path) -> None:
    """Without a name for each."""
    pytest.importorskip("matplotlib")
    table = np.ones((300, 150), np.int64)
    png = picture.draw(".png", "a", [*map(str, range(300))], [*map(str, range(150))], table)
    assert png.startswith(b"\x89PNG")
    svg = picture.draw(".svg", "b", ["1", "2"], [*map(str, range(15))], table[:2, :15])
    assert b"<svg" in svg
    with pytest.raises(TrainingError, match=r"c\.png: the folder .* does not exist"):
        picture.check_plot_file(tmp_path / "nowhere" / "c.png")


def test_quantities_are_dealt_by_chance_or_size(tmp_path: Path) -> None:
    """They have no classes to deal by."""
    table = tmp_path / "t.csv"
    table.write_text("a,price\n" + "".join(f"{n},{n / 4}\n" for n in range(50)))
    words = [table, "--to", tmp_path / "s", "--agents", 4]
    said = split(*words, "--by", "quantity-skew", "--loader-options", '{"target": "number"}')
    assert said["classes"] is None
    assert sum(agent["rows"] for agent in said["agents"]) == 40
    assert npz(said["agents"][0]["file"]).examples == said["agents"][0]["rows"]
    assert "got float32, one value for each row" in refused("split", *words, "--replace")


def test_partitions_of_one_size_leave_rows_unassigned(source: Path) -> None:
    """And the command says how many."""
    words = ["data", "split", source, "--to", source.parent / "s", "--agents", 4]
    words += ["--by", "mixed", "--non-iid", "2,3", "--partition-size", 30]
    done = RUNNER.invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert "160 rows in " in done.stdout
    assert "40 of them held out, 40 more are not used" in done.stdout
    said = split(*words[2:], "--replace")
    assert (said["options"], said["left_over"]) == ({"non_iid": [2, 3], "partition_size": 30}, 40)
    assert [agent["rows"] for agent in said["agents"]] == [30] * 4


def test_a_split_calls_classes_by_their_names(tmp_path: Path) -> None:
    """A reader of the table knows pears, not the number 1."""
    table = tmp_path / "fruit.csv"
    table.write_text(
        "a,fruit\n" + "".join(f"{n},{'pear' if n % 3 else 'kiwi'}\n" for n in range(60))
    )
    words = ["data", "split", table, "--to", tmp_path / "s", "--agents", 2, "--by", "iid"]
    done = RUNNER.invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0].split() == ["AGENT", "ROWS", "CLASSES", "kiwi", "pear"]
    said = split(*words[2:], "--replace")
    assert (said["classes"], said["class_names"]) == ([0, 1], ["kiwi", "pear"])


def test_wrong_wishes_are_refused_before_anything_is_written(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what would be right."""
    to = source.parent / "s"
    words = ["split", source, "--to", to, "--agents", 4]
    assert refused(*words, "--by", "fair").startswith("2 fedbus: no sampler 'fair'; expected all-")
    assert "takes no --shards-per-agent; its options: --alpha, --partition-size" in refused(
        *words, "--shards-per-agent", 3
    )
    assert "iid takes no --alpha; its options: --partition-size" in refused(
        *words, "--by", "iid", "--alpha", 3
    )
    assert "takes no --alpha; its options: none" in refused(
        *words, "--by", "all-inclusive", "--alpha", 3
    )
    assert "160 rows for 4 agents of at least 41" in refused(*words, "--min-partition-size", 41)
    assert refused(*words, "--anchor-classes", "a,b").startswith("2 fedbus: --anchor-classes: ")
    assert refused(*words, "--loader-options", "{").startswith("2 fedbus: --loader-options: {: not")
    assert refused(*words, "--loader-options", "[]").startswith(
        "2 fedbus: --loader-options: expected a JSON"
    )
    assert "expected the suffix .pdf, .png, .svg" in refused(*words, "--plot", "a.gif")
    (source.parent / "a.png").mkdir()
    assert "a.png: expected a file, found a folder" in refused(
        *words, "--plot", source.parent / "a.png"
    )
    assert "--held-out 0.001 of 200 rows is less than one row" in refused(
        *words, "--held-out", 0.001
    )
    assert "No such file" in refused("split", "nowhere.npz", "--to", to, "--agents", 2)
    assert "/nope: no such file or folder" in refused("split", "/nope", "--to", to, "--agents", 2)
    assert "/nope: no such file or folder" in refused("describe", "/nope")
    assert not to.exists()
    split(*words[1:])
    assert refused(*words).startswith(f"2 fedbus: {to / 'agent.'}")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert 'pip install "fedbus[plot]"' in refused(*words, "--plot", "a.png")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.chdir(source.parent)
    assert "digits need scikit-learn" in refused("describe", "digits")


def test_a_data_set_is_described_with_what_a_pipeline_makes_of_it(tmp_path: Path) -> None:
    """After every number in it was read."""
    np.savez(tmp_path / "a.npz", x=np.full((20, 2, 2, 3), 255.0), y=np.arange(20) % 2)
    axes, span = "(height, width, channels) float32", "0.996094 to 0.996094"
    steps = [{"id": "grayscale"}, {"id": "normalize", "parameters": {"high": 256}}]
    (tmp_path / "p.json").write_text(json.dumps(steps))
    words = ["data", "describe", str(tmp_path / "a.npz"), "--pipeline", str(tmp_path / "p.json")]
    said = RUNNER.invoke(app, words)
    assert said.exit_code == 0, said.output
    assert said.stdout.splitlines()[1:] == [
        f"x  image 2 x 2 x 3 {axes}, 255 to 255",
        f"   transform 1 (grayscale) makes image 2 x 2 x 1 {axes}",
        f"   transform 2 (normalize) makes image 2 x 2 x 1 {axes}, {span}, normalized",
        "y  categorical 1 int64, 10 of class 0, 10 of class 1",
    ]
    plain = json.loads(RUNNER.invoke(app, [*words, "--json"]).stdout)
    assert plain["classes"] == {"0": 10, "1": 10}
    assert plain["warnings"] == []
    assert plain["format"]["x"]["data_types"]["image"]["size"] == [2, 2, 1]
    table = tmp_path / "t.csv"
    table.write_text("a,y\n" + "".join(f"{n},{n}\n" for n in range(30)))
    assert "30 classes" in RUNNER.invoke(app, ["data", "describe", str(table)]).stdout
    table.write_text("a,y\n1,0.5\n2,1\n")
    assert (
        "y  numerical 1 float32, 0.5 to 1\n"
        in RUNNER.invoke(app, ["data", "describe", str(table)]).stdout
    )
    table.write_text("a,y\n1,0\n2,-5\n")
    told = "-5 is not a class"
    assert told in RUNNER.invoke(app, ["data", "describe", str(table)]).stdout
    plain = json.loads(RUNNER.invoke(app, ["data", "describe", str(table), "--json"]).stdout)
    assert plain["warnings"][0].startswith(told)
    table.write_text(",a,kind\n0,1,oak\n1,,elm\n2,3,oak\n")
    words = ["data", "describe", str(table), "--loader-options", '{"missing": "mean"}']
    assert RUNNER.invoke(app, words).stdout.splitlines()[1:] == [
        "x  numerical 1 float32, 1 to 3: a",
        "y  categorical 1 int64, 1 of class 0 (elm), 2 of class 1 (oak)",
        "   1 missing value in 'a'",
        '   column number 0 is left out: a row index, or without a name ("features" can name it)',
        "   1 missing value became the column's mean (1 in 'a')",
    ]
    plain = json.loads(RUNNER.invoke(app, [*words, "--json"]).stdout)
    assert (plain["class_names"], plain["columns"]) == (["elm", "oak"], ["a"])
    assert (plain["missing"], plain["range"]["x"], len(plain["notes"])) == ({"a": 1}, [1, 3], 2)
    table.write_text("a,y\n1,0\nx,1\n")
    assert "line 3, column 'a': 'x'" in refused("describe", table)


def test_a_full_disk_leaves_nothing_half_written(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is named."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(partition_files, "_pack", full)
    to = source.parent / "new" / "s"
    said = refused("split", source, "--to", to, "--agents", 2)
    assert said.startswith(f"1 fedbus: {to}: No space left")
    assert list(source.parent.iterdir()) == [source]


def test_a_failed_replacement_leaves_the_old_shards_and_the_old_picture(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the disk is full, the picture has no folder, or a file cannot be moved."""
    pytest.importorskip("matplotlib")
    to, plot = source.parent / "s", source.parent / "s.svg"
    words = ["split", source, "--to", to, "--agents"]
    split(*words[1:], 3, "--plot", plot)
    (to / "pipeline.json").write_text("[]")

    def there() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (*to.iterdir(), plot)}

    before = there()
    assert len(before) == 6
    again = [*words, 5, "--seed", 1, "--replace", "--plot"]

    packed = []
    pack = partition_files._pack  # noqa: SLF001 - the last thing done for a shard, to fail at the fourth

    def full(staging: Path, number: int, path: Path, about: DatasetInfo) -> None:
        packed.append(path)
        if len(packed) == 4:
            raise OSError(28, "No space left on device")
        pack(staging, number, path, about)

    with monkeypatch.context() as patch:
        patch.setattr(partition_files, "_pack", full)
        assert "No space left" in refused(*again, plot)
    assert there() == before
    nowhere = source.parent / "nowhere"
    assert f"s.svg: the folder {nowhere} does not exist; create" in refused(
        *again, nowhere / "s.svg"
    )
    assert there() == before

    rename = Path.rename

    def stuck(self: Path, target: Path) -> Path:
        if target == to / "agent.5.npz":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stuck)
        assert "Input/output error" in refused(*again, plot)
    assert there() == before

    split(*again[1:], plot)
    assert set(there()) == {*before, "agent.4.npz", "agent.5.npz"}
    assert there()["s.svg"] != before["s.svg"]
    assert there()["pipeline.json"] == b"[]"


def test_a_disk_without_room_is_said_before_a_map_is_written_to(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing into a hole that the disk cannot fill would kill the process."""
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("only POSIX can ask for room")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    to = source.parent / "s"
    assert f"{to}" in (said := refused("split", source, "--to", to, "--agents", 2))
    assert "No space left" in said
    assert not to.exists()
