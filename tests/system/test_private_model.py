"""A private job on a cluster of real processes, and what its users read: the page of privacy."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fedbus.cli.exit_codes import OK, REFUSED
from tests.page_commands import ROOT
from tests.system.fedbus_up import FedbusUp, digits_job

pytestmark = pytest.mark.system
pytest.importorskip("sklearn")
pytest.importorskip("tflite_runtime")
pytest.importorskip("dp_accounting")
pytest.importorskip("cryptography")

ROUND = "fedbus/v1/jobs/private-first/rounds/{}"
LATEST = "fedbus/v1/models/digits/latest"
AGENTS = ("agent.1", "agent.2", "agent.3")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FedbusUp]:
    """A cluster of three agents."""
    with FedbusUp(tmp_path_factory.mktemp("up"), "--agents", "3") as cluster:
        yield cluster
        assert cluster.interrupt() == OK, cluster.output


def first_example() -> dict[str, Any]:
    """Return the page's first example, for three agents."""
    job: dict[str, Any] = json.loads((ROOT / "examples/privacy/first.json").read_bytes())
    mechanisms = job["privacy-mechanisms"]
    mechanisms["dp-fixed"]["num_sampled_clients"] = 2
    return {**job, "num_rounds": 3, "strategy": {"id": "fedavg", "population": 3}}


def test_users_of_a_private_model_read_its_epsilon_and_no_agent(up: FedbusUp) -> None:
    """`fedbus up` makes the key; commands and documents have one ε; then an open job costs it."""
    file = up.write("first.json", first_example())
    watched = up.run("job", "submit", file, "--watch")
    assert watched.returncode == OK, watched.stderr
    shown = up.run_json("job", "show", "private-first")
    epsilon = shown["privacy"]["epsilon"]
    assert 0 < epsilon <= 8
    assert shown["privacy"]["entries"] == shown["round"]
    spent = up.run_json("privacy", "show", "digits")
    assert (spent["epsilon"], len(spent["jobs"])) == (epsilon, 1)
    latest = up.run_mosquitto("sub", "-t", LATEST, "-C", "1")
    assert json.loads(latest)["privacy"]["model_epsilon"] == epsilon
    documents = [json.dumps(shown), json.dumps(spent), latest, watched.stdout]
    for number in range(1, shown["round"] + 1):
        documents.append(up.run_mosquitto("sub", "-t", ROUND.format(number), "-C", "1"))
        published = json.loads(documents[-1])
        assert (published["contributors"], published["examples"], published["seconds"]) == (
            ([], 0, {})
        )
    assert [name for name in AGENTS if any(name in each for each in documents)] == []

    opened = up.run("job", "submit", up.write("open.json", digits_job("open")), "--watch")
    assert opened.returncode == OK
    assert "after its first round the model has no ε" in " ".join(opened.stderr.split())
    assert up.run_json("privacy", "show", "digits")["epsilon"] is None
    again = up.run("job", "submit", file, "--again")
    assert again.returncode == REFUSED
    assert "the ε of model 'digits' is unknown" in " ".join(again.stderr.split())
