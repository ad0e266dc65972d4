"""`fedbus models list`, where something about a model is not known."""

import json
from dataclasses import replace

import pytest
import typer

from fedbus.cli.commands.models import print_models
from fedbus.client.results import StoredModel
from fedbus.wire.blobs import BlobRef, EncryptedVersion, ModelRef

BLOB = BlobRef(digest="a" * 64, size=10)


def model(name: str, trouble: str = "") -> StoredModel:
    """A stored model without an ε."""
    ref = ModelRef(model=name, version=2, weights=BLOB, spec=BLOB, source="repository.1")
    return StoredModel(ref, None, None, trouble)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_model_of_unknown_epsilon_is_listed_and_named(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    """A script that adds up ε must not take it for a model without one."""
    with pytest.raises(typer.Exit) as ended:
        print_models([model("m"), model("o", "it cannot be read")], as_json=as_json)
    assert ended.value.exit_code == 1
    told = capsys.readouterr()
    assert told.err.strip() == "warning: model o: it cannot be read"
    if as_json:
        assert [each.get("trouble") for each in json.loads(told.out)] == [None, "it cannot be read"]
    else:
        rows = [line.split("\t") for line in told.out.splitlines()]
        assert [(row[0], row[-1]) for row in rows[1:]] == [("m", ""), ("o", "unknown")]


def test_an_encrypted_model_names_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    """A job must have the same one; other models have an empty cell."""
    encryption = EncryptedVersion(
        scheme="bfv", key="1a" * 32, parameters="c" * 64, anchor=1, anchor_weights=BLOB
    )
    plain = model("m")
    print_models(
        [plain, replace(plain, ref=replace(plain.ref, encryption=encryption))], as_json=False
    )
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    said = "bfv, key 1a1a1a1a1a1a, distances from version 1"
    assert [row[-1] for row in rows] == ["ENCRYPTED", "", said]


def test_a_list_without_trouble_ends_as_usual(capsys: pytest.CaptureFixture[str]) -> None:
    """And has no column for ε if no model has one."""
    print_models([model("m")], as_json=False)
    assert "EPSILON" not in capsys.readouterr().out


def test_names_have_columns_only_if_a_model_has_some(capsys: pytest.CaptureFixture[str]) -> None:
    """As `production 3`: what each of them stands for."""
    named = replace(model("m"), aliases={"production": 3, "canary": 5}, tags={"paper": 2})
    print_models([named, model("n")], as_json=False)
    rows = [line.split("\t")[-2:] for line in capsys.readouterr().out.splitlines()]
    assert rows == [["ALIASES", "TAGS"], ["canary 5, production 3", "paper 2"], ["", ""]]
    print_models([model("n")], as_json=False)
    assert "ALIASES" not in capsys.readouterr().out
    print_models([named], as_json=True)
    [plain] = json.loads(capsys.readouterr().out)
    assert (plain["aliases"], plain["tags"]) == ({"canary": 5, "production": 3}, {"paper": 2})
