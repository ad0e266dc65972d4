"""Modules that protoc wrote from the .proto files of the gRPC interface."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GENERATOR = ROOT / "services/inference/generate_protocol.py"
FOLDER = ROOT / "services/inference/src/fedbus_inference/grpc_api/protocol"


def test_the_committed_modules_are_what_the_generator_writes(tmp_path: Path) -> None:
    """An edit by hand, or a .proto file changed without them, is found here.

    In a process of its own: protoc's C++ ends a process that has loaded TensorFlow or TenSEAL.
    """
    subprocess.run([sys.executable, GENERATOR, tmp_path], check=True)
    written = sorted(tmp_path.iterdir())
    assert {path.name for path in written} >= {"open_inference_pb2.py", "basic_inference_pb2.pyi"}
    for path in written:
        assert path.read_text() == (FOLDER / path.name).read_text(), path.name


def test_they_live_beside_another_copy_of_the_protocol() -> None:
    """In protobuf's default pool, a plug-in that imports tritonclient would end the service."""
    script = (
        "import fedbus_inference.grpc_api.protocol.open_inference_pb2 as own\n"
        "from tritonclient.grpc import service_pb2 as theirs\n"
        "sent = theirs.ModelInferRequest(model_name='digits', id='7', raw_input_contents=[b'x'])\n"
        "sent.parameters['a'].bool_param = True\n"
        "tensor = sent.inputs.add(name='x', datatype='FP32', shape=[1, 64])\n"
        "tensor.contents.fp32_contents[:] = [2]\n"
        "got = own.ModelInferRequest.FromString(sent.SerializeToString())\n"
        "assert got.SerializeToString(deterministic=True) == "
        "sent.SerializeToString(deterministic=True)\n"
        "assert got.parameters['a'].bool_param and got.inputs[0].contents.fp32_contents == [2]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
