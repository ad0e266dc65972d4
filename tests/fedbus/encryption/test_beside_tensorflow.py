"""TenSEAL in a process that has imported TensorFlow, as that of an agent with the keras trainer."""

import subprocess
import sys

import pytest

SCRIPT = """
import tensorflow
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.parameters import choose_parameters
from fedbus.encryption.tenseal_contexts import loaded_context
secret = SecretKey.generate(choose_parameters(agents=5))
print(loaded_context(secret.context).is_private())
"""


def test_keys_are_made_and_read_after_tensorflow_is_imported() -> None:
    """Both have protobuf: with TensorFlow's functions, TenSEAL ended the process."""
    pytest.importorskip("tensorflow")
    pytest.importorskip("tenseal")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr[-2000:]
