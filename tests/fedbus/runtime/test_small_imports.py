"""Modules that a service on a board imports, each time in a new process."""

import hashlib
import hmac
import json
import subprocess
import sys

import numpy as np

LOADED = """
import json, sys
from fedbus.runtime.small_imports import import_little
import_little()
sys.modules["dns"] = None  # paho imports it where it is installed, and that needs TLS
import asyncio, hashlib, hmac, ssl
import numpy as np
from fedbus_inference.app import build
from fedbus.frameworks.tflite.runtime import open_runtime
own = sorted(sys.modules)
digest = hmac.new(b"key", hashlib.sha256(b"fedbus").digest(), "sha512").hexdigest()
used = [
    np.random.default_rng(1).integers(100, size=3).tolist(),
    bool(np.ma.masked_array([1], [True]).mask[0]),
    ssl.create_default_context().check_hostname,
    asyncio.sslproto.SSLProtocol.__name__,
]
print(json.dumps([own, digest, used, "ssl" in sys.modules and "_ssl" in sys.modules]))
"""
ALREADY = """
import hashlib, sys
from fedbus.runtime.small_imports import import_little
import_little()
import _hashlib
print(hashlib.sha256 is _hashlib.openssl_sha256, sys.modules["_hashlib"] is _hashlib)
"""
UNUSED = {
    "_ctypes",
    "_bz2",
    "_hashlib",
    "_ssl",
    "email.message",
    "fedbus.data.loaders.npz_rows",
    "fedbus.plugins.strategy_protocols",
    "fedbus.wire.messages.job_storage",
    "fedbus.wire.messages.rounds",
    "http.client",
    "numpy.ma.core",
    "numpy.random.mtrand",
}


def output_of(program: str) -> str:
    """Return what a program prints in a new process."""
    line = [sys.executable, "-c", program]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()


def test_inference_loads_no_tls_random_generators_and_messages_of_others_before_it_uses_them() -> (
    None
):
    """And finds all of each when it does; digests are those of OpenSSL."""
    own, digest, used, loaded = json.loads(output_of(LOADED))
    assert UNUSED & set(own) == set()
    expected = hmac.new(b"key", hashlib.sha256(b"fedbus").digest(), "sha512").hexdigest()
    assert digest == expected
    numbers = np.random.default_rng(1).integers(100, size=3).tolist()
    assert used == [numbers, True, True, "SSLProtocol"]
    assert loaded


def test_a_process_that_has_hashlib_keeps_it() -> None:
    """Nothing is taken from a program that imported OpenSSL's hashes."""
    assert output_of(ALREADY) == "True True"
