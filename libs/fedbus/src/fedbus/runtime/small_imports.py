"""Imports of a service on a small board: without what its libraries import and it never uses.

numpy imports its random generators, masked arrays and the documentation of its compiled functions,
asyncio and paho TLS, paho a client of HTTP, and Python's reader of installed packages a parser of
e-mails. Each is loaded when it is used (`lazy_modules`): TLS by the first connection to an address
`mqtts://`. hashlib computes with Python's own SHA-2 instead of OpenSSL's, whose library takes 3 MB.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from fedbus.runtime.lazy_modules import load_on_first_use

SELDOM_USED: Final = frozenset(
    {
        "asyncio.sslproto",
        "ctypes",
        "difflib",
        "importlib.metadata._adapters",
        "numpy.core._add_newdocs",
        "numpy.core._add_newdocs_scalars",
        "numpy.ctypeslib",
        "numpy.fft",
        "numpy.ma",
        "numpy.polynomial",
        "numpy.random",
        "shutil",
        "ssl",
        "structlog.stdlib",
        "structlog.threadlocal",
        "tempfile",
        "urllib.request",
        "zipfile",
    }
)
_OPENSSL_HASHES: Final = "_hashlib"


def import_little() -> None:
    """Prepare this process for imports; call it before anything imports asyncio or numpy."""
    load_on_first_use(SELDOM_USED)
    # Python's library as an archive, which most installations lack: entry points are searched with
    # zipfile in every entry of the path that is no folder.
    sys.path[:] = [each for each in sys.path if not each.endswith(".zip") or Path(each).exists()]
    modules: dict[str, Any] = sys.modules
    if "hashlib" in modules or _OPENSSL_HASHES in modules:
        return
    modules[_OPENSSL_HASHES] = None  # an import of it raises ImportError, which hashlib expects
    try:
        import_module("hashlib")
        import_module("hmac")
    finally:
        del modules[_OPENSSL_HASHES]
