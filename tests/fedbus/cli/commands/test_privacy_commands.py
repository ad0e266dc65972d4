"""`fedbus privacy`, as a user and as a program use it."""

import json
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedbus.cli.commands import plan_privacy
from fedbus.cli.exit_codes import USAGE
from fedbus.cli.main import app
from fedbus.jobs import parse
from fedbus.privacy import fleet_terms
from fedbus.privacy.accounting import epsilon_of
from fedbus.privacy.ledger import planned_composition
from fedbus.privacy.noise_key import read_noise_key
from fedbus.strategies.privacy_terms import privacy_terms

RUNNER = CliRunner()
FLEET = ("--epsilon", "4", "--rounds", "50", "--agents", "200", "--cohort", "20")
QUICK = (*FLEET, "--accountant", "rdp")
SGD = ("--examples", "600", "--batch", "32", "--epochs", "2")


def plan(*words: str) -> Any:  # noqa: ANN401 - what JSON holds
    """Run the command for a program."""
    done = RUNNER.invoke(app, ["privacy", "plan", *words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(*words: str) -> str:
    """Run the command, to be refused; returns the exit code and the sentence."""
    done = RUNNER.invoke(app, ["privacy", "plan", *words], env={"COLUMNS": "300"})
    assert done.exit_code != 0, done.output
    return f"{done.exit_code} {done.stderr}"


@pytest.mark.parametrize("accountant", ["rdp", "pld"])
def test_each_mechanism_keeps_the_wanted_epsilon_in_a_job_of_its_keys(accountant: str) -> None:
    """What is pasted into a job file is resolved to terms with the ε of the plan."""
    found = plan(*FLEET, *(SGD if accountant == "rdp" else ()), "--accountant", accountant)
    names = ["Poisson sampling", "adaptive clipping", "banded noise", "fixed cohorts"]
    names += ["local noise", "noise of each agent", "DP-SGD"]
    assert [each["name"] for each in found["mechanisms"]] == names[
        : 7 if accountant == "rdp" else 6
    ]
    for each in found["mechanisms"]:
        job = {"model_name": "m", "num_rounds": 50, **each["job"]}
        terms = privacy_terms(parse(json.dumps(job).encode()), "mean")
        assert terms is not None
        assert terms.accountant == accountant
        assert (terms.mechanism, terms.unit) == (each["mechanism"], each["unit"])
        assert (terms.relation, terms.sampling) == (each["relation"], each["sampling"])
        composed = planned_composition(terms, 50, each["participations"])
        epsilon = epsilon_of(terms, composed)
        assert epsilon is not None
        assert 3.97 < epsilon <= 4


def test_the_errors_order_the_mechanisms() -> None:
    """Banded noise needs no secret sampling, and is far better than cohorts drawn by chance."""
    found = {each["name"]: each["path_error"] for each in plan(*QUICK)["mechanisms"]}
    assert found["banded noise"] < found["fixed cohorts"] / 2
    assert found["fixed cohorts"] == found["local noise"] < found["noise of each agent"]
    assert found["Poisson sampling"] < found["adaptive clipping"] < found["fixed cohorts"]


def test_curves_fall_with_epsilon() -> None:
    """More ε allows less noise; DP-SGD has another unit, so it has no curve."""
    for each in plan(*QUICK, *SGD)["mechanisms"]:
        points = [(point["epsilon"], point["path_error"]) for point in each["curve"]]
        assert points == sorted(points, reverse=True)
        assert [error for _, error in points] == sorted(error for _, error in points)
        assert bool(points) == (each["name"] != "DP-SGD")


def test_a_user_sees_a_table_a_picture_and_keys_to_paste() -> None:
    """The keys are whole lines, so that they can be copied."""
    done = RUNNER.invoke(app, ["privacy", "plan", *QUICK])
    assert done.exit_code == 0, done.output
    assert "ε 4 at δ 1e-05 after 50 rounds of 20 of 200 agents:" in done.stdout
    assert "fixed cohorts = local noise" in done.stdout
    assert "PATH ERROR" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith('"privacy-mechanisms":')]
    assert len(lines) == 6
    for line in lines:
        assert "privacy-mechanisms" in json.loads("{" + line.rstrip(",") + "}")


def test_a_plot_is_written(tmp_path: Path) -> None:
    """The same plan makes the same picture."""
    pytest.importorskip("matplotlib")
    made = []
    for name in ("a.png", "b.png", "c.svg"):
        done = RUNNER.invoke(app, ["privacy", "plan", *QUICK, "--plot", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        assert f"plot: {tmp_path / name}" in done.stdout.replace("\n", "")
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    assert made[0].startswith(b"\x89PNG")
    assert b"banded noise" in made[2] or b"<svg" in made[2]


def test_a_fleet_of_one_round_and_one_agent_has_a_plan() -> None:
    """All agents in all rounds: sampling changes nothing, and no two rounds are apart."""
    one = ("--epsilon", "1", "--rounds", "1", "--agents", "1", "--cohort", "1")
    found = {each["name"]: each for each in plan(*one, "--accountant", "rdp")["mechanisms"]}
    banded, fixed = found["banded noise"], found["fixed cohorts"]
    assert banded["path_error"] == pytest.approx(fixed["path_error"])
    assert banded["job"]["privacy-mechanisms"]["dp-banded"]["bands"] == 1


def test_a_fleet_with_absent_agents_gets_a_shorter_separation() -> None:
    """Otherwise a round would wait for agents that are away."""
    separations = [
        plan(*QUICK, "--away", away)["mechanisms"][2]["job"]["privacy-mechanisms"]["dp-banded"][
            "min_separation"
        ]
        for away in ("0", "0.5", "0.95")
    ]
    assert separations == [10, 5, 1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--epsilon", "0"), "--epsilon: expected a number above 0, got 0"),
        (("--epsilon", "inf"), "--epsilon: expected a number above 0, got inf"),
        (("--epsilon", "nan"), "--epsilon: expected a number above 0, got nan"),
        (("--cohort", "201"), "--cohort 201 is more than --agents 200: a round cannot have more"),
        (("--delta", "0.01"), "--delta: expected a number above 0 and below 1 / agents = 0.005"),
        (("--delta", "0"), "--delta: expected a number above 0 and below 1 / agents = 0.005"),
        (("--clipping-norm", "0"), "--clipping-norm: expected a number above 0, got 0"),
        (("--examples", "10"), "dp-sgd is planned with all of --examples, --batch and --epochs"),
        (
            ("--examples", "10", "--batch", "20", "--epochs", "1"),
            "--batch 20 is more than --examples 10",
        ),
        (
            ("--examples", "1000", "--batch", "20", "--epochs", "1", "--delta", "0.004"),
            "--delta: expected a number above 0 and below 1 / examples = 0.001",
        ),
        (("--plot", "a.gif"), "expected the suffix .pdf, .png, .svg"),
        (("--rounds", "0"), "--rounds"),
        (
            ("--epsilon", "0.00001"),
            "no noise multiplier up to 10000 gives ε 1e-05 at δ 1e-05 after 50 rounds",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused_in_a_sentence(
    words: tuple[str, ...], sentence: str
) -> None:
    """With the option to change, before anything is computed."""
    said = refused(*QUICK, *words)
    assert said.startswith("2 ")
    assert sentence in re.sub(r"\s+", " ", said)


def test_a_stopped_plan_computes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C sets the event; the next noise multiplier is not tried."""

    def run(work: Callable[[threading.Event], object]) -> object:
        stop = threading.Event()
        stop.set()
        return work(stop)

    monkeypatch.setattr(plan_privacy, "run_interruptible", run)
    monkeypatch.setattr(fleet_terms, "noise_multiplier_for", lambda *_, watch, **__: watch(1.0))
    done = RUNNER.invoke(app, ["privacy", "plan", *FLEET])
    assert done.exit_code == 130


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command needs `fedbus[accounting]`, which others do not."""
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    said = refused("--epsilon", "3.21", "--rounds", "7", "--agents", "9", "--cohort", "3")
    assert 'pip install "fedbus[accounting]"' in said


def test_a_key_is_made_once_and_only_its_digest_is_shown(tmp_path: Path) -> None:
    """A second call with the same file changes nothing, since running jobs need their key."""
    path = tmp_path / "noise.key"
    done = RUNNER.invoke(app, ["privacy", "key", str(path)], env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    key = read_noise_key(path)
    assert f"{path}: a new noise key, SHA-256 {key.digest}" in done.stdout
    assert f"FEDBUS_NOISE_KEY={path}" in done.stdout
    assert key.secret.hex() not in done.output
    again = RUNNER.invoke(app, ["privacy", "key", str(path)], env={"COLUMNS": "300"})
    assert again.exit_code == USAGE
    assert "this file exists" in str(again.exception) + again.output
    missing = RUNNER.invoke(app, ["privacy", "key", str(tmp_path / "no" / "key")])
    assert missing.exit_code == USAGE
    assert read_noise_key(path) == key


def test_a_program_gets_the_digest_of_a_new_key(tmp_path: Path) -> None:
    """It can compare it with what collectors announce."""
    path = tmp_path / "noise.key"
    done = RUNNER.invoke(app, ["privacy", "key", str(path), "--json"])
    assert json.loads(done.stdout) == {"file": str(path), "digest": read_noise_key(path).digest}
