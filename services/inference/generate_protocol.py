"""Generator of the modules of `fedbus_inference/grpc_api/protocol`, from its .proto files.

    python services/inference/generate_protocol.py [FOLDER]

It needs `grpcio-tools` (group `test`). What protoc writes is changed in two places:

- **Own descriptor pool.** In protobuf's default pool each name may be defined once, so a plug-in
  that imports another package's copy of the protocol, as `tritonclient` has one, would end the
  service.
- **No check of the version of protobuf.** protoc's own check refuses every protobuf that is older
  than grpcio-tools, though these files use nothing that protobuf 6.31 lacks; the extra `grpc`
  states the range.
"""

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from grpc_tools import protoc

FOLDER = Path(__file__).parent / "src/fedbus_inference/grpc_api/protocol"
CHECK = re.compile(r"_runtime_version\.ValidateProtobufRuntimeVersion\(.*?\n\)\n", re.DOTALL)
IMPORT = "from google.protobuf import runtime_version as _runtime_version\n"
DEFAULT_POOL = "_descriptor_pool.Default()"
OWN_POOL = "_descriptor_pool.DescriptorPool()"


def generate(folder: Path) -> list[Path]:
    """Write a module and its type stub for each .proto file into a folder; return their paths."""
    protos = sorted(FOLDER.glob("*.proto"))
    with TemporaryDirectory() as made:
        outputs = [f"--python_out={made}", f"--pyi_out={made}"]
        if protoc.main(["protoc", f"-I{FOLDER}", *outputs, *map(str, protos)]):
            raise SystemExit("protoc failed")
        written = []
        for path in sorted(Path(made).iterdir()):
            text = path.read_text()
            if path.suffix == ".py":
                text = CHECK.sub("", text).replace(IMPORT, "").replace(DEFAULT_POOL, OWN_POOL)
            written.append(folder / path.name)
            written[-1].write_text(text)
    return written


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
