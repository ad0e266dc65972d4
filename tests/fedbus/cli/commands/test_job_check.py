"""`fedbus job check`, as a person and as a program use it."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from fedbus.cli.main import app
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.parameters import choose_parameters
from fedbus.wire import codec
from fedbus.wire.strategies import Strategy

RUNNER = CliRunner()
FIXED: dict[str, Any] = {"noise_multiplier": 1.1, "clipping_norm": 2, "num_sampled_clients": 20}


def written(folder: Path, **keys: Any) -> str:  # noqa: ANN401 - whatever a job holds
    """Write a job file; return its path."""
    path = folder / "job.json"
    path.write_text(json.dumps({"model_name": "m", "num_rounds": 10, **keys}))
    return str(path)


def test_a_private_job_is_shown_with_what_it_promises(tmp_path: Path) -> None:
    """Its ε is among the warnings, so that one looks at it before the job is submitted."""
    path = written(tmp_path, **{"privacy-mechanisms": {"dp-fixed": FIXED}})
    shown = RUNNER.invoke(app, ["job", "check", path])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines()[0] == f"{path} has no faults"
    text = " ".join(shown.stdout.split())
    assert "privacy of each agent (dp-fixed): Gaussian noise of the collector with the" in text
    said = " ".join(shown.stderr.split())
    assert "none is given, so ε is computed for δ = 1e-05" in said
    assert "after 10 rounds ε is 15.8 for an agent that takes part in 10 of them" in said


def test_a_job_that_promises_nothing_has_no_such_warnings(tmp_path: Path) -> None:
    """For programs, the strategy is the message that services send."""
    path = written(tmp_path, scheduler_config={"scheduler": "steplr", "step_size": 9})
    shown = RUNNER.invoke(app, ["job", "check", path, "--json"])
    found = json.loads(shown.stdout)
    text = json.dumps(found["strategy"]).encode()
    assert codec.from_json(Strategy, text).id == "fedavg"
    (warning,) = found["warnings"]
    assert warning.startswith("scheduler_config: steplr starts again in every round")


def test_faults_end_with_exit_code_2(tmp_path: Path) -> None:
    """The same as when it is submitted, before anything is sent."""
    broken = {**FIXED, "noise_multiplier": 0}
    path = written(tmp_path, **{"privacy-mechanisms": {"dp-fixed": broken}})
    shown = RUNNER.invoke(app, ["job", "check", path])
    assert shown.exit_code == 2
    assert "privacy-mechanisms.dp-fixed.noise_multiplier: expected more than 0, got 0" in (
        " ".join(shown.stderr.split())
    )
    as_json = RUNNER.invoke(app, ["job", "check", path, "--json"])
    assert json.loads(as_json.stdout)["faults"][0]["key"].endswith("noise_multiplier")


def test_a_budget_below_one_round_is_a_fault(tmp_path: Path) -> None:
    """As the repository finds it when the job is submitted."""
    chosen = {"dp-fixed": FIXED, "accounting": {"target_epsilon": 1.0}}
    shown = RUNNER.invoke(
        app, ["job", "check", written(tmp_path, **{"privacy-mechanisms": chosen})]
    )
    assert shown.exit_code == 2
    assert "the privacy budget of ε 1 is too small" in " ".join(shown.stderr.split())


def test_a_job_with_an_empty_mechanism_object_is_warned(tmp_path: Path) -> None:
    """Its author wanted privacy, and gets none."""
    path = written(tmp_path, **{"privacy-mechanisms": {}})
    shown = RUNNER.invoke(app, ["job", "check", path, "--json"])
    (warning,) = json.loads(shown.stdout)["warnings"]
    assert warning.startswith("privacy-mechanisms has no mechanism, so the job has no privacy; ")


def test_one_key_has_one_sentence(tmp_path: Path) -> None:
    """A part that refuses the same value is not quoted as well."""
    adaptive = {"num_sampled_clients": 20, "noise_multiplier": 3, "clip_count_stddev": 1}
    path = written(tmp_path, **{"privacy-mechanisms": {"dp-adaptive": adaptive}})
    shown = RUNNER.invoke(app, ["job", "check", path, "--json"])
    (fault,) = json.loads(shown.stdout)["faults"]
    assert fault["problem"].startswith("expected less than 2 (2 * clip_count_stddev), got 3")


def test_a_budget_that_an_aggregator_makes_too_small_names_it(tmp_path: Path) -> None:
    """With mean, the same noise would be enough."""
    private = {"dp-fixed": FIXED, "accounting": {"target_epsilon": 8}}
    strategy = {"aggregator": {"id": "median"}}
    path = written(tmp_path, **{"privacy-mechanisms": private, "strategy": strategy})
    shown = RUNNER.invoke(app, ["job", "check", path, "--json"])
    (fault,) = json.loads(shown.stdout)["faults"]
    assert fault["key"] == "privacy-mechanisms.accounting.target_epsilon"
    assert fault["hint"].startswith(
        "choose the aggregator mean: what median returns, one agent may change by twice the "
        "clipping norm, so the same noise gives a larger ε; or give a greater one"
    )


def test_an_encrypted_job_is_checked_against_a_key(tmp_path: Path) -> None:
    """Without one, the command says what it did not check."""
    secret = SecretKey.generate(choose_parameters(agents=5))
    secret.public.save(tmp_path / "public.key")
    path = written(tmp_path, **{"privacy-mechanisms": {"homomorphic": {"scheme": "CKKS"}}})
    alone = RUNNER.invoke(app, ["job", "check", path, "--json"])
    assert alone.exit_code == 0, alone.output
    found = json.loads(alone.stdout)
    assert found["strategy"]["encryption"]["key"] == "0" * 64
    assert found["unchecked"] == [
        (
            "privacy-mechanisms.homomorphic: not checked against the encryption key of the "
            "controller; give its public key with --encryption-key FILE"
        )
    ]
    shown = RUNNER.invoke(app, ["job", "check", path])
    said = " ".join(shown.stderr.split())
    assert "not checked against the encryption key of the controller" in said
    with_key = ["job", "check", path, "--encryption-key", str(tmp_path / "public.key")]
    refused = RUNNER.invoke(app, with_key)
    assert refused.exit_code == 2
    assert "the controller's encryption key has bfv" in " ".join(refused.stderr.split())
    path = written(tmp_path, **{"privacy-mechanisms": {"homomorphic": {}}})
    accepted = json.loads(RUNNER.invoke(app, [*with_key, "--json"]).stdout)
    assert accepted["strategy"]["encryption"]["key"] == secret.id
    assert accepted["unchecked"] == []
    secret.save(tmp_path / "secret.key")
    wrong = RUNNER.invoke(app, [*with_key[:-1], str(tmp_path / "secret.key")])
    assert wrong.exit_code == 2
    assert "this is a secret key, which only agents may have" in " ".join(wrong.stderr.split())
