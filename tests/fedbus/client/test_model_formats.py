"""Formats of a pulled model."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.datasets import load_digits

from fedbus.client.failures import Failed
from fedbus.client.model_formats import (
    VersionContents,
    choose_format,
    metadata_of,
    model_file,
    save_model,
)
from fedbus.errors import SettingsError
from fedbus.model.layout import Array
from fedbus.model.weight_files import read_weights
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.documents import ModelSpec, TensorSpec
from fedbus.wire.messages import VersionFacts

BLOB = BlobRef(digest="0" * 64, size=1)
REF = ModelRef(model="net", version=5, weights=BLOB, spec=BLOB, source="repository.1")
WEIGHTS: dict[str, Array] = {"w": np.arange(4, dtype=np.float32)}


def version(**architectures: dict[str, object]) -> VersionContents:
    """Make a version of a model of some architectures."""
    layout = (TensorSpec(name="w", shape=(4,), dtype="float32"),)
    spec = ModelSpec(model="net", layout=layout, architectures=architectures)
    return VersionContents(REF, spec, WEIGHTS)


@pytest.mark.parametrize(
    ("said", "output", "wanted"),
    [
        (None, None, "npz"),
        (None, "w.safetensors", "safetensors"),
        (None, "w.pth", "torch"),
        (None, "w.NPZ", "npz"),
        ("npz", "w.h5", "npz"),
        ("torch", "w.bin", "torch"),
        ("keras", "w.keras", "keras"),
        ("tflite", None, "tflite"),
    ],
)
def test_a_format_is_chosen_by_word_or_by_the_files_name(
    said: str | None, output: str | None, wanted: str
) -> None:
    """A user who writes FILE.safetensors wants one."""
    assert choose_format(said, None if output is None else Path(output)) == wanted


@pytest.mark.parametrize(
    ("said", "output", "sentence"),
    [
        (
            "h5",
            None,
            "--format: expected one of npz, safetensors, torch, keras, tflite, onnx, got 'h5'",
        ),
        ("npz", "w.pt", "-o: expected suffix .npz for npz, got w.pt"),
        ("keras", "w", "-o: expected suffix .keras for keras, got w"),
        *(
            (
                None,
                name,
                (
                    f"-o: {name} has no known suffix; use one of .npz, .safetensors, .pt, .keras, "
                    ".tflite, .onnx, .pth, or add "
                    "--format npz|safetensors|torch|keras|tflite|onnx"
                ),
            )
            for name in ("best.h5", "best.bin", "best")
        ),
    ],
)
def test_a_format_that_is_none_or_contradicts_the_name_is_refused(
    said: str | None, output: str | None, sentence: str
) -> None:
    """Before anything is fetched."""
    with pytest.raises(SettingsError) as caught:
        choose_format(said, None if output is None else Path(output))
    assert str(caught.value) == sentence


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_plain_arrays_need_no_framework(form: str, tmp_path: Path) -> None:
    """Nor an architecture."""
    path = tmp_path / "w"
    save_model(path, form, version())
    np.testing.assert_array_equal(read_weights(path)["w"], WEIGHTS["w"])
    assert [each.name for each in tmp_path.iterdir()] == ["w"]


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ("torch", "--format torch: model net has no architecture for torch; it has own; or pull"),
        ("tflite", "no architecture for keras (a .tflite file is exported from it); it has own"),
        ("onnx", "no architecture that ONNX is exported from, torch or keras; it has own; or pull"),
    ],
)
def test_a_format_whose_architecture_is_missing_is_refused_with_what_helps(
    form: str, sentence: str, tmp_path: Path
) -> None:
    """The weights can be had all the same."""
    with pytest.raises(SettingsError) as caught:
        save_model(tmp_path / "w", form, version(own={}))
    assert sentence in str(caught.value)
    assert str(caught.value).endswith("load it with fedbus.load_into(model, FILE)")


def test_a_net_that_is_not_installed_here_is_named(tmp_path: Path) -> None:
    """A plug-in of another package."""
    pytest.importorskip("torch")
    with pytest.raises(SettingsError, match="--format torch: no torch architecture named 'lenet'"):
        save_model(tmp_path / "w", "torch", version(torch={"name": "lenet"}))


def test_the_package_safetensors_reads_the_file_and_what_it_says_of_the_version(
    tmp_path: Path,
) -> None:
    """A reader that we did not write; the job and the round are there if a round made it."""
    facts = VersionFacts(
        version=5, parent=4, weights=BLOB, job="first", round=4, contributors=3, metrics={},
        kept=True,
    )  # fmt: skip
    weights = {"w": np.arange(6, dtype=np.int16).reshape(2, 3), "s": np.array(2.5)}
    path = tmp_path / "w.safetensors"
    save_model(path, None, replace(version(), weights=weights, facts=facts))
    with safe_open(path, framework="np") as file:
        assert file.metadata() == {
            "format": "fedbus", "model": "net", "version": "5", "digest": "0" * 64,
            "job": "first", "round": "4",
        }  # fmt: skip
        for name, array in weights.items():
            np.testing.assert_array_equal(file.get_tensor(name), array)
            assert file.get_tensor(name).dtype == array.dtype
    save_file({"w": weights["w"]}, path, {"by": "another"})
    np.testing.assert_array_equal(read_weights(path)["w"], weights["w"])


@pytest.mark.parametrize("form", ["npz", "safetensors", "tflite", "torch"])
def test_a_model_that_only_runs_is_pulled_as_the_file_that_was_pushed(
    form: str, tmp_path: Path
) -> None:
    """Its layout is empty, so there are no arrays to write."""
    spec = ModelSpec(model="net", layout=(), architectures={"onnx": {"blob": {}}})
    pulled = VersionContents(REF, spec, {}, file=b"an ONNX file")
    assert pulled.own_format == "onnx"
    save_model(tmp_path / "net.onnx", None, pulled)
    assert (tmp_path / "net.onnx").read_bytes() == b"an ONNX file"
    with pytest.raises(SettingsError, match=r"only runs: .* pull --format onnx"):
        save_model(tmp_path / "net", form, pulled)
    assert not (tmp_path / "net").exists()


def test_a_pushed_version_names_no_job() -> None:
    """None made it."""
    assert "job" not in metadata_of(version())


def test_bytes_for_standard_output_are_those_of_the_file(tmp_path: Path) -> None:
    """`-o -` writes what a file would hold."""
    save_model(tmp_path / "w.safetensors", None, version())
    assert model_file("safetensors", version()) == (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.npz").write_bytes(model_file("npz", version()))
    np.testing.assert_array_equal(read_weights(tmp_path / "w.npz")["w"], WEIGHTS["w"])


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    """A missing folder is reported in the same way."""
    with pytest.raises(Failed, match="No such file"):
        save_model(tmp_path / "no" / "w.npz", None, version())


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_an_onnx_file_answers_as_the_framework_that_trains_the_model(framework: str) -> None:
    """For the demo's digits, whatever their number; it says what it holds."""
    onnx_file = pytest.importorskip("fedbus.frameworks.onnx_file")
    trainer = pytest.importorskip(f"fedbus.frameworks.{framework}.trainer")
    demo = json.loads(files("fedbus.demo_data").joinpath("model.json").read_text())
    demo["architectures"] = {framework: demo["architectures"][framework]}
    steps = [{"id": "normalize", "parameters": {"high": 16}}]
    said = {"classes": list("0123456789"), "preprocessing": steps, "raw_input": {"shape": [64]}}
    spec = codec.from_json(ModelSpec, json.dumps({**demo, **said}).encode())
    net = getattr(trainer, f"{framework.title()}Trainer")(spec.architectures[framework])
    rng = np.random.default_rng(7)
    weights = {
        name: rng.normal(0, 0.2, each.shape).astype(each.dtype)
        for name, each in net.initial().items()
    }
    net.load(weights)
    digits = (load_digits().data[:50] / 16).astype(np.float32)
    file = model_file("onnx", VersionContents(REF, spec, weights))
    for count in (1, 50):
        wanted = net.predict(digits[:count])
        np.testing.assert_allclose(onnx_file.run(file, digits[:count]), wanted, atol=1e-5)
    about = onnx_file.read_metadata(file)
    assert about["model"] == "net"
    assert about["version"] == "5"
    assert {key: json.loads(about[key]) for key in said} == said
    assert b"/site-packages/" not in file  # no stack of this machine
