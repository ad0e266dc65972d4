"""Configurations: one for all files that mean the same."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.jobs import JobFileError, configuration_id, configuration_of, differences, parse
from fedbus.limits import MAX_JOB_FILE_BYTES

EXAMPLES = sorted(Path("examples").glob("**/*.json"))
FILE = {
    "training_id": "first",
    "model_name": "digits",
    "num_rounds": 5,
    "config": [{"batch_size": 16, "learning_rate": 0.5}],
    "strategy": {"id": "fedprox", "parameters": {"proximal_mu": 1}},
}


def written(**changes: object) -> bytes:
    """Write the job file, with changes; None leaves a key out."""
    tree = {**FILE, **changes}
    return json.dumps({key: value for key, value in tree.items() if value is not None}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"training_id": None},
        {"training_id": "second"},
        {"num_rounds": "5"},
        {"num_rounds": 5.0},
        {"config": [{"batch_size": "16", "epochs": 1, "learning_rate": 0.5}]},
        {"strategy": {"parameters": {"proximal_mu": 1.0}, "id": "fedprox"}},
        {"round": {"agents": 2, "quorum": 2}},
        {"stopping_target": {}},
    ],
)
def test_the_notation_makes_no_difference(changes: dict[str, object]) -> None:
    """Numbers as text, defaults, the order of keys, and the id of the run."""
    assert configuration_of(written(**changes)) == configuration_of(written())


@pytest.mark.parametrize(
    "changes",
    [
        {"model_name": "faces"},
        {"num_rounds": 6},
        {"strategy": {"id": "fedprox", "parameters": {"proximal_mu": 1.5}}},
        {"strategy": {"id": "fedavg"}},
    ],
)
def test_another_meaning_is_another_configuration(changes: dict[str, object]) -> None:
    """So two jobs of one configuration can be compared."""
    ids = {configuration_id(configuration_of(each)) for each in (written(), written(**changes))}
    assert len(ids) == 2


def test_it_is_a_job_file_without_an_id() -> None:
    """It can be submitted again, and its own configuration is itself."""
    configuration = configuration_of(written())
    job = parse(configuration)
    assert job.training_id is None
    assert job.strategy.id == "fedprox"
    assert configuration_of(configuration) == configuration
    assert configuration_id(configuration) == "bb6f2453f34c34c53f3b"


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_every_example_means_the_same_as_its_configuration(path: Path) -> None:
    """Whatever keys a job file has, those of other systems included."""
    file = path.read_bytes()
    try:
        parse(file)
    except JobFileError:
        pytest.skip("no job file")
    assert differences(file, configuration_of(file)) == []


@given(st.permutations(sorted(FILE)))
def test_the_order_of_keys_makes_no_difference(names: list[str]) -> None:
    """Objects have none."""
    shuffled = json.dumps({name: FILE[name] for name in names}).encode()
    assert configuration_of(shuffled) == configuration_of(written())


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        (b'{"training_id": "a", "key of a later version": [1.0, true]}',
         b'{"key of a later version":[1,true]}'),
        (b"[1.5]", b"[1.5]"),
    ],
)  # fmt: skip
def test_a_file_of_another_version_keeps_its_keys(file: bytes, wanted: bytes) -> None:
    """It was stored by a version that could read it."""
    assert configuration_of(file) == wanted


def test_what_is_not_json_has_none() -> None:
    """Nothing that a controller accepts is that."""
    with pytest.raises(JobFileError, match="JSON"):
        configuration_of(b"model_name: digits")


def test_large_numbers_do_not_make_a_configuration_longer_than_a_message() -> None:
    """A file of 70 kB had one of 2.8 MB, which no answer could have."""
    numbers = {f"p{each}": [1e308] * 250 for each in range(18)}
    step = {"id": "center", "parameters": numbers}
    file = written(plugins={"transforms": [step, step]})
    parse(file)
    assert len(configuration_of(file)) <= len(file) + 1000 < MAX_JOB_FILE_BYTES
    parse(configuration_of(file))


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("1e15", "1000000000000000", True),
        ("1e22", "10000000000000000000000", True),
        ("9007199254740993", "9007199254740992", False),
        ("9007199254740993", "9007199254740992.0", False),
        ("-1e18", "-1000000000000000000", True),
        ("true", "1", False),
    ],
)
def test_large_numbers_are_compared_by_their_value(one: str, other: str, equal: bool) -> None:
    """However they are written."""
    file = written(plugins={"transforms": [{"id": "center", "parameters": {"x": 123}}]})
    first, second = (configuration_of(file.replace(b"123", x.encode())) for x in (one, other))
    assert (first == second) is equal
