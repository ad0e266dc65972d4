"""The files that `fedbus models pull` writes."""

from pathlib import Path

import numpy as np
import pytest

from fedbus.cli.pulled_files import choose_format, write_model
from fedbus.errors import SettingsError
from fedbus.model.layout import Array
from fedbus.model.weight_files import read_weights
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.documents import ModelSpec, TensorSpec

BLOB = BlobRef(digest="0" * 64, size=1)
REF = ModelRef(model="net", version=5, weights=BLOB, spec=BLOB, source="repository.1")
WEIGHTS: dict[str, Array] = {"w": np.arange(4, dtype=np.float32)}


def spec(**architectures: dict[str, object]) -> ModelSpec:
    """Write a spec of some architectures."""
    layout = (TensorSpec(name="w", shape=(4,), dtype="float32"),)
    return ModelSpec(model="net", layout=layout, architectures=architectures)


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
            "onnx",
            None,
            "--format: expected one of npz, safetensors, torch, keras, tflite, got 'onnx'",
        ),
        ("npz", "w.pt", "-o: expected suffix .npz for npz, got w.pt"),
        ("keras", "w", "-o: expected suffix .keras for keras, got w"),
        *(
            (
                None,
                name,
                (
                    f"-o: {name} has no known suffix; use one of .npz, .safetensors, .pt, .keras, "
                    ".tflite, .pth, or add "
                    "--format npz|safetensors|torch|keras|tflite"
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
    write_model(path, form, REF, spec(), WEIGHTS)
    np.testing.assert_array_equal(read_weights(path)["w"], WEIGHTS["w"])
    assert [each.name for each in tmp_path.iterdir()] == ["w"]


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ("torch", "--format torch: model net has no architecture for torch; it has own; or pull"),
        ("tflite", "no architecture for keras (a .tflite file is exported from it); it has own"),
    ],
)
def test_a_format_whose_architecture_is_missing_is_refused_with_what_helps(
    form: str, sentence: str, tmp_path: Path
) -> None:
    """The weights can be had all the same."""
    with pytest.raises(SettingsError) as caught:
        write_model(tmp_path / "w", form, REF, spec(own={}), WEIGHTS)
    assert sentence in str(caught.value)
    assert str(caught.value).endswith("load it with fedbus.load_into(model, FILE)")


def test_a_net_that_is_not_installed_here_is_named(tmp_path: Path) -> None:
    """A plug-in of another package."""
    pytest.importorskip("torch")
    with pytest.raises(SettingsError, match="--format torch: no torch architecture named 'lenet'"):
        write_model(tmp_path / "w", "torch", REF, spec(torch={"name": "lenet"}), WEIGHTS)
