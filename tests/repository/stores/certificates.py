"""Certificates of a test CA, made by the `openssl` command."""

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class TestAuthority:
    """A CA in a folder: `ca.pem`, and a certificate for each set of names."""

    __test__ = False
    folder: Path

    @property
    def ca_file(self) -> Path:
        """The CA's certificate."""
        return self.folder / "ca.pem"

    def server(self, *names: str) -> ssl.SSLContext:
        """Return the TLS context of a server with these names, such as DNS:localhost."""
        base = self.folder / f"server{len(list(self.folder.iterdir()))}"
        key, request, certificate = (base.with_suffix(end) for end in (".key", ".csr", ".pem"))
        extension = base.with_suffix(".ext")
        extension.write_text(f"subjectAltName={','.join(names)}\n")
        openssl("req", *_NEW_KEY, "-subj", "/CN=mongo", "-keyout", key, "-out", request)
        signing = ("-CA", self.ca_file, "-CAkey", self.folder / "ca.key", "-CAcreateserial")
        openssl(
            "x509",
            "-req",
            "-in",
            request,
            *signing,
            *("-days", "2", "-extfile", extension),
            "-out",
            certificate,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context


_NEW_KEY = ("-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def make_authority(folder: Path) -> TestAuthority:
    """Make a CA in a new folder; skip the test where there is no openssl."""
    folder.mkdir(parents=True)
    authority = TestAuthority(folder)
    name = ("-subj", f"/CN={folder.name}", "-days", "2")
    key = folder / "ca.key"
    openssl("req", "-x509", *_NEW_KEY, *name, "-keyout", key, "-out", authority.ca_file)
    return authority


def openssl(*arguments: str | Path) -> None:
    """Run the command."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)
