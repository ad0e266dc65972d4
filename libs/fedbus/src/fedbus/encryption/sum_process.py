"""Worker process that adds ciphertexts: `python -m fedbus.encryption.sum_process PUBLIC_KEY`.

One request a line on standard input, one answer a line on standard output, both JSON. Its address
space is bounded, and a crash in SEAL ends only this process; `ciphertext_sums.py` starts it again.
"""

import json
import os
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from fedbus.encryption.ciphertext_addition import add_update
from fedbus.encryption.encrypted_blob import EncryptedHeader
from fedbus.encryption.key_files import PublicKey
from fedbus.encryption.tenseal_contexts import loaded_context
from fedbus.errors import EncryptionError, FedbusError, StoreError

MAX_PROCESS_BYTES: Final = 768 * 2**20
"""The address space that the process may use: 190 MiB are usual, 510 MiB with N = 32768."""


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what TenSEAL prints is no answer
    resource.setrlimit(resource.RLIMIT_AS, (MAX_PROCESS_BYTES, MAX_PROCESS_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    key = PublicKey.load(Path(sys.argv[1]))
    context = loaded_context(key.context)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line), key, context)), file=answers, flush=True)


def _answer(request: dict[str, Any], key: PublicKey, context: Any) -> dict[str, Any]:  # noqa: ANN401 - TenSEAL ships no types
    expected = header_from(request["expected"])
    if expected.key != key.id:
        return {"refused": f"key {expected.key[:12]} where this collector has {key.id[:12]}"}
    total = Path(request["total"]) if request["total"] is not None else None
    try:
        made = add_update(
            total, Path(request["update"]), Path(request["out"]), expected, context, key.parameters
        )
    except EncryptionError as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": f"adding it needs more than {MAX_PROCESS_BYTES} bytes of memory"}
    except StoreError as error:
        return {"failed": str(error)}
    return {"added": asdict(made)}


def header_from(content: dict[str, Any]) -> EncryptedHeader:
    """Return a header from the JSON of this process's requests and answers."""
    return EncryptedHeader(**{**content, "ranges": tuple(content["ranges"])})


if __name__ == "__main__":
    try:
        main()
    except FedbusError as error:
        sys.exit(str(error))
