"""The commands for encryption keys say what they made, and refuse what is insecure or exists."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedbus.cli.main import app

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a pair of keys."""
    made = tmp_path_factory.mktemp("keys") / "new" / "folder"
    done = RUNNER.invoke(app, ["keys", "generate", str(made)], env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    assert "secret.key: a new secret key, only for agents (mode 0600)" in done.output
    assert f"FEDBUS_ENCRYPTION_KEY={made}/secret.key to agents" in done.output
    assert "a slot      holds 1 of 24 bits, 2 of 14 bits, 3 of 7 bits" in done.output
    return made


def test_a_pair_is_private_complete_and_checked(folder: Path) -> None:
    """The secret file is readable for its owner only, and the public one has no secret."""
    assert sorted(each.name for each in folder.iterdir()) == ["public.key", "secret.key"]
    assert (folder / "secret.key").stat().st_mode & 0o777 == 0o600
    assert "secret" not in json.loads((folder / "public.key").read_text())
    paths = [str(folder / "secret.key"), str(folder / "public.key")]
    done = RUNNER.invoke(app, ["keys", "check", *paths], env={"COLUMNS": "300"})
    assert done.exit_code == 0
    assert "the sum of 3 ciphertexts was decrypted" in done.output
    as_json = json.loads(RUNNER.invoke(app, ["keys", "check", *paths, "--json"]).output)
    assert as_json["pair"] is True
    assert as_json["summed"] == 3


def test_both_files_show_one_id(folder: Path) -> None:
    """By it an operator finds the key that a job or a version names."""
    shown = {
        name: json.loads(RUNNER.invoke(app, ["keys", "show", str(folder / name), "--json"]).output)
        for name in ("secret.key", "public.key")
    }
    assert shown["secret.key"]["kind"] == "secret"
    assert shown["public.key"]["kind"] == "public"
    assert shown["secret.key"]["id"] == shown["public.key"]["id"]
    assert shown["public.key"]["most_agents"] == 100
    assert shown["public.key"]["numbers_in_slot"]["11"] == 2
    text = RUNNER.invoke(app, ["keys", "show", str(folder / "public.key")]).output
    assert shown["public.key"]["id"] in text


def test_ckks_keys_have_no_whole_numbers(tmp_path: Path) -> None:
    """The seed's own parameters are accepted."""
    line = [
        *("keys", "generate", str(tmp_path), "--scheme", "ckks", "--poly-modulus-degree", "8192"),
        *("--coeff-mod-bit-sizes", "60,40,40", "--scale-bits", "40"),
    ]
    made = json.loads(RUNNER.invoke(app, [*line, "--json"]).output)
    assert made["parameters"]["coeff_mod_bit_sizes"] == [60, 40, 40]
    assert made["numbers_in_slot"] == {}
    text = RUNNER.invoke(app, ["keys", "show", made["public"]], env={"COLUMNS": "300"}).output
    assert "scale_bits 40" in text
    assert "a slot" not in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--coeff-mod-bit-sizes 60,60", "at most 109 are as secure as 128 bits"),
        ("--coeff-mod-bit-sizes 54;55", "give whole numbers: 54,55"),
        ("--bits 24 --agents 10000 --coeff-mod-bit-sizes 40,40", "do not hold the sum of 10000"),
        ("--scheme rsa", "is not one of 'bfv', 'ckks'"),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_file_is_made(
    tmp_path: Path, options: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the exit code of wrong input."""
    line = ["keys", "generate", str(tmp_path / "keys"), *options.split()]
    done = RUNNER.invoke(app, line, env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert said in done.output + capfd.readouterr().err
    assert not (tmp_path / "keys").exists()


def test_no_key_is_replaced(folder: Path, tmp_path: Path) -> None:
    """Versions that it encrypted could not be read any more."""
    before = (folder / "public.key").read_bytes()
    assert RUNNER.invoke(app, ["keys", "generate", str(folder)]).exit_code == 2
    assert (folder / "public.key").read_bytes() == before
    (tmp_path / "public.key").write_bytes(before)
    assert RUNNER.invoke(app, ["keys", "generate", str(tmp_path)]).exit_code == 2
    assert not (tmp_path / "secret.key").exists()


def test_without_tenseal_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is an optional dependency of fedbus."""
    monkeypatch.setitem(sys.modules, "tenseal", None)
    done = RUNNER.invoke(app, ["keys", "generate", str(tmp_path / "keys")], env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert 'pip install "fedbus[encryption]"' in done.output + capfd.readouterr().err
