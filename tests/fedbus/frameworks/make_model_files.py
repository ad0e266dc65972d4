"""Model files of the tests, as converters write them.

Written by `python -m tests.fedbus.frameworks.make_model_files`, which needs TensorFlow, onnx and
onnxruntime. The files hold one network of the digits, float and quantized, with an open and with a
fixed number of rows, and a function with two inputs and outputs.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "model_files"
SEED = 7


def main() -> None:
    """Write all files."""
    import keras
    import tensorflow as tf
    from sklearn.datasets import load_digits

    keras.utils.set_random_seed(SEED)
    pixels, labels = load_digits(return_X_y=True)
    x = (pixels / 16).astype(np.float32)
    net = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    net.compile("adam", "sparse_categorical_crossentropy")
    net.fit(x, labels, epochs=20, verbose=0)
    _write_tflite(tf, net, x)
    _write_onnx([np.asarray(each) for each in net.get_weights()], x)


def _write_tflite(tf: Any, net: Any, x: np.ndarray[Any, Any]) -> None:  # noqa: ANN401 - no types
    convert = tf.lite.TFLiteConverter

    def samples() -> Iterator[list[Any]]:
        return ([x[n : n + 1]] for n in range(200))

    _write("plain.tflite", convert.from_keras_model(net).convert())
    for name in ("uint8", "int8"):
        quantized = convert.from_keras_model(net)
        quantized.optimizations = [tf.lite.Optimize.DEFAULT]
        quantized.representative_dataset = samples
        quantized.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        quantized.inference_input_type = quantized.inference_output_type = getattr(tf, name)
        _write(f"{name}.tflite", quantized.convert())
    weights = [tf.constant(each) for each in net.get_weights()]

    def fixed(rows: Any) -> Any:  # noqa: ANN401 - tensors
        hidden = tf.nn.relu(rows @ weights[0] + weights[1])
        return tf.nn.softmax(hidden @ weights[2] + weights[3])

    function = tf.function(fixed).get_concrete_function(tf.TensorSpec((3, 64), tf.float32))
    _write("three_rows.tflite", convert.from_concrete_functions([function]).convert())
    model = tf.Module()
    specs = [tf.TensorSpec((None, 4), tf.float32), tf.TensorSpec((None, 2), tf.int32)]
    model.two = tf.function(
        lambda image, extra: {
            "total": tf.reduce_sum(image, 1) + tf.cast(tf.reduce_sum(extra, 1), tf.float32),
            "twice": image * 2.0,
        },
        input_signature=specs,
    )
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, folder, signatures={"serving_default": model.two})
        _write("two.tflite", convert.from_saved_model(folder).convert())


def _write_onnx(weights: list[np.ndarray[Any, Any]], x: np.ndarray[Any, Any]) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime import quantization

    names = ("w0", "b0", "w1", "b1")
    constants = [numpy_helper.from_array(a, n) for a, n in zip(weights, names, strict=True)]
    nodes = [
        helper.make_node("Gemm", ["image", "w0", "b0"], ["h0"]),
        helper.make_node("Relu", ["h0"], ["h1"]),
        helper.make_node("Gemm", ["h1", "w1", "b1"], ["h2"]),
        helper.make_node("Softmax", ["h2"], ["scores"], axis=-1),
    ]
    info = helper.make_tensor_value_info
    float32, int32 = TensorProto.FLOAT, TensorProto.INT32

    def save(name: str, graph: Any) -> Path:  # noqa: ANN401 - a message
        opsets = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.checker.check_model(model)
        _write(name, model.SerializeToString())
        return FOLDER / name

    for name, rows in (("plain.onnx", "n"), ("three_rows.onnx", 3)):
        ends = [info("image", float32, [rows, 64])], [info("scores", float32, [rows, 10])]
        path = save(name, helper.make_graph(nodes, "digits", *ends, constants))
        if rows == "n":
            quantization.quantize_static(path, FOLDER / "int8.onnx", _Samples(x))
    adding = [
        helper.make_node("ReduceSum", ["image", "axis"], ["t0"], keepdims=0),
        helper.make_node("ReduceSum", ["extra", "axis"], ["t1"], keepdims=0),
        helper.make_node("Cast", ["t1"], ["t2"], to=float32),
        helper.make_node("Add", ["t0", "t2"], ["total"]),
        helper.make_node("Add", ["image", "image"], ["twice"]),
    ]
    inputs = [info("image", float32, ["n", 4]), info("extra", int32, ["n", 2])]
    outputs = [info("total", float32, ["n"]), info("twice", float32, ["n", 4])]
    axis = [numpy_helper.from_array(np.array([1], np.int64), "axis")]
    save("two.onnx", helper.make_graph(adding, "two", inputs, outputs, axis))


class _Samples:
    """Rows from which ranges of quantized numbers are taken."""

    def __init__(self, x: np.ndarray[Any, Any]) -> None:
        self._rows = iter(x[:200])

    def get_next(self) -> dict[str, Any] | None:
        row = next(self._rows, None)
        return None if row is None else {"image": row[None]}

    def set_range(self, start_index: int, end_index: int) -> None:
        """Ignore a part of the rows that is asked for."""


def _write(name: str, data: bytes) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    main()
