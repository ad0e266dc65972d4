"""A model on disk."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.cli.output_files import write_weights
from fedbus.client.model_outputs import OutputOptions, same_outputs
from fedbus.client.packing import read_model, read_weights
from fedbus.digest import digest_of
from fedbus.errors import LayoutError, SettingsError, WireError
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.wire import codec
from fedbus.wire.documents import ModelSpec

LAYOUT = [
    {"name": "b", "shape": [2], "dtype": "float32"},
    {"name": "w", "shape": [2, 3], "dtype": "float32"},
]
WEIGHTS = {"w": np.arange(6, dtype="f4").reshape(2, 3), "b": np.ones(2, "f4")}
FILE = b"an architecture"
DIGEST = digest_of(FILE)


def lay(folder: Path, **spec: object) -> Path:
    """Write a spec, its file and its weights into a folder."""
    architectures = {"own": {"blob": "net.tflite"}}
    plain = {"model": "tiny", "layout": LAYOUT, "architectures": architectures, **spec}
    (folder / "net.tflite").write_bytes(FILE)
    (folder / "spec.json").write_text(json.dumps({k: v for k, v in plain.items() if v is not None}))
    write_weights(folder / "w.npz", WEIGHTS)
    return folder / "spec.json"


def test_a_model_is_packed_with_every_blob_it_names(tmp_path: Path) -> None:
    """The repository fetches by digest: spec, weights, and the files of the spec."""
    packed = read_model(lay(tmp_path), tmp_path / "w.npz")
    push, blobs = packed.push, packed.blobs
    assert blobs.keys() == {push.spec.digest, push.weights.digest, DIGEST}
    assert all(digest_of(blob) == digest for digest, blob in blobs.items())
    spec = codec.from_json(ModelSpec, bytes(blobs[push.spec.digest]))
    assert spec.architectures["own"] == {"blob": {"digest": DIGEST, "size": len(FILE)}}
    arrays = decode(blobs[push.weights.digest], Layout.read(spec.layout))
    np.testing.assert_array_equal(arrays["w"], WEIGHTS["w"])


def test_the_classes_of_an_earlier_version_go_into_a_spec(tmp_path: Path) -> None:
    """What is packed is what a push that names them would have packed."""
    path = lay(tmp_path, answers="logits")
    packed = read_model(path, tmp_path / "w.npz")
    named = read_model(path, tmp_path / "w.npz", OutputOptions(classes=("cat", "dog")))
    assert packed.with_classes(("cat", "dog")) == named != packed


def test_names_of_outputs_go_with_the_same_layout_and_answers_alone(tmp_path: Path) -> None:
    """A net of other outputs would be given names that are none of its."""
    path = lay(tmp_path, answers="logits")
    spec = read_model(path, tmp_path / "w.npz").spec()
    assert same_outputs(spec, replace(spec, classes=("cat", "dog")))
    assert not same_outputs(spec, replace(spec, answers="values"))
    assert not same_outputs(spec, replace(spec, layout=spec.layout[:1]))


def test_a_file_may_be_named_by_its_content(tmp_path: Path) -> None:
    """As specs in a repository name it; the same blob comes of it."""
    named = {"own": {"blob": {"digest": DIGEST, "size": len(FILE)}}}
    by_name = read_model(lay(tmp_path), tmp_path / "w.npz")
    by_content = read_model(lay(tmp_path, architectures=named), tmp_path / "w.npz")
    assert by_content == by_name


def test_without_a_layout_the_weights_say_it(tmp_path: Path) -> None:
    """Shapes need not be written twice."""
    packed = read_model(lay(tmp_path, layout=None), tmp_path / "w.npz")
    assert packed == read_model(lay(tmp_path), tmp_path / "w.npz")


def test_without_weights_a_framework_makes_the_first_ones(tmp_path: Path) -> None:
    """What is not installed here is passed over."""
    pytest.importorskip("torch")
    architectures = {
        "none": {"blob": "net.tflite"},
        "torch": {"name": "mlp", "config": {"layers": [3, 2], "seed": 1}},
    }
    packed = read_model(lay(tmp_path, architectures=architectures, layout=None))
    assert packed.push.weights.size > 4 * (3 * 2 + 2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"architectures": None}, "an object with model, layout and architectures"),
        ({"architectures": {"tflite": 3}}, "an object with model, layout and architectures"),
        (
            {"architectures": {"a": {"blob": "no.file"}}},
            "architectures.a.blob: no file 'no.file' beside",
        ),
        ({"architectures": {"a": {"blob": "../w.npz"}}}, "no file '../w.npz' beside"),
        (
            {"architectures": {"a": {"blob": {"digest": "0" * 64, "size": 11}}}},
            "has 11 bytes and digest 000000000000",
        ),
        (
            {"architectures": {"a": {"blob": 7}}},
            "architectures.a.blob: name a file beside the spec",
        ),
    ],
)
def test_a_spec_that_cannot_be_packed_is_refused(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    """At home, before anything is sent."""
    with pytest.raises(SettingsError, match=sentence):
        read_model(lay(tmp_path, **change), tmp_path / "w.npz")


def test_weights_must_be_those_of_the_layout(tmp_path: Path) -> None:
    """The sentence names the tensor."""
    with pytest.raises(LayoutError, match="weights lack b"):
        read_model(lay(tmp_path), _written(tmp_path / "v.npz", {"w": WEIGHTS["w"]}))


def test_a_model_needs_a_name_that_fits_a_topic(tmp_path: Path) -> None:
    """As every message about it will be read."""
    with pytest.raises(WireError, match=r"ModelSpec\.model"):
        read_model(lay(tmp_path, model="a/b"), tmp_path / "w.npz")


def test_a_spec_is_packed_under_another_name(tmp_path: Path) -> None:
    """As if the file had it; a name that fits no topic is refused."""
    renamed = read_model(lay(tmp_path), tmp_path / "w.npz", name="other")
    assert renamed == read_model(lay(tmp_path, model="other"), tmp_path / "w.npz")
    assert (renamed.push.model, renamed.spec().model) == ("other", "other")
    with pytest.raises(SettingsError, match="'a/b' is no model's name"):
        read_model(lay(tmp_path), tmp_path / "w.npz", name="a/b")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(SettingsError, match="a model spec is an object"):
        read_model(tmp_path / "list.json", name="other")


def test_no_framework_and_no_weights_says_what_to_give(tmp_path: Path) -> None:
    """With the reason of each framework that was tried."""
    with pytest.raises(
        SettingsError, match=r"no trainers plug-in.*\(--weights FILE\.npz, in Python"
    ):
        read_model(lay(tmp_path, architectures={"none": {}}))
    with pytest.raises(SettingsError, match="the spec names no architecture"):
        read_model(lay(tmp_path, architectures={}))


def test_what_is_no_spec_or_no_weights_is_named(tmp_path: Path) -> None:
    """A pickled array is none either."""
    (tmp_path / "x").write_bytes(b"{")
    with pytest.raises(SettingsError, match="x: not a model spec"):
        read_model(tmp_path / "x")
    with pytest.raises(SettingsError, match=r"fac: No such file .*or package\.module:factory"):
        read_model(tmp_path / "fac")
    for name in ("missing", "spec.json"):
        with pytest.raises(SettingsError, match=f"{name}: No such file"):
            read_weights(tmp_path / name)
    with pytest.raises(SettingsError, match=r"x: not an \.npz file"):
        read_weights(tmp_path / "x")
    (tmp_path / "house.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(9))
    with pytest.raises(
        SettingsError, match=r"house\.tflite: a \.tflite file, not a model spec; .*blob"
    ):
        read_model(tmp_path / "house.tflite")
    whole = _written(tmp_path / "whole.npz", {"a": np.ones(9)}).read_bytes()
    (tmp_path / "torn.npz").write_bytes(whole[:-20])
    with pytest.raises(SettingsError, match=r"a truncated \.npz file"):
        read_weights(tmp_path / "torn.npz")
    np.save(tmp_path / "bare.npy", np.ones(2))
    with pytest.raises(SettingsError, match="but one bare array"):
        read_weights(tmp_path / "bare.npy")


def test_a_named_file_that_was_cut_short_is_told_with_its_size(tmp_path: Path) -> None:
    """The file is there, and only its content is wrong."""
    (tmp_path / "digits.tflite").write_bytes(bytes(4000))
    named = {"tflite": {"blob": {"digest": "0" * 64, "size": 39928}}}
    (tmp_path / "spec.json").write_text(json.dumps({"model": "m", "architectures": named}))
    with pytest.raises(
        SettingsError, match=r"has 39928 bytes .*digits\.tflite has 4000 bytes: it is"
    ):
        read_model(tmp_path / "spec.json")


def _written(path: Path, weights: dict[str, Any]) -> Path:
    write_weights(path, weights)
    return path
