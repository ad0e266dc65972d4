"""Keys of homomorphic encryption and their files: a secret one for agents, a public one for all.

Both are JSON: what it is, its version, the key's id, the parameters, and TenSEAL contexts in
base64. They load without TenSEAL, so that a controller needs only the id and the parameters.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from fedbus.atomic_write import atomic_write, os_errors_as_store_errors
from fedbus.encryption.parameters import EncryptionParameters
from fedbus.encryption.tenseal_contexts import new_context, saved_context
from fedbus.errors import SettingsError
from fedbus.private_files import create_private_file, read_private_file

SECRET_KIND: Final = "fedbus secret encryption key"  # noqa: S105 - what the file is
PUBLIC_KIND: Final = "fedbus public encryption key"
SECRET_NAME: Final = "secret.key"  # noqa: S105 - a file's name
PUBLIC_NAME: Final = "public.key"
MAKE_A_PAIR: Final = "make a pair with `fedbus keys generate FOLDER`"
_VERSION: Final = 1
_MOST_KEY_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public part of a key: what collector, controller and repository may have.

    Attributes:
        parameters: All parameters of the scheme.
        context: A TenSEAL context with the public key only.
    """

    parameters: EncryptionParameters
    context: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """SHA-256 of parameters and context, 64 hex digits: it names the key in messages."""
        described = json.dumps(asdict(self.parameters), sort_keys=True).encode()
        return hashlib.sha256(described + b"\n" + self.context).hexdigest()

    @classmethod
    def load(cls, path: Path) -> "PublicKey":
        """Read a public key file.

        Raises:
            SettingsError: The file is missing or no public key; the message says how to mend it.
        """
        return _public_part(_content(_public_bytes(path), path, PUBLIC_KIND), path)

    def save(self, path: Path) -> None:
        """Write the file; raise StoreError if it cannot be written."""
        with os_errors_as_store_errors(path):
            atomic_write(path, _file_bytes(PUBLIC_KIND, self, {}), durable=True)


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key with its secret part: what agents have, all the same one.

    Attributes:
        public: Its public part.
        context: A TenSEAL context with the secret key.
    """

    public: PublicKey
    context: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """The id of the public part."""
        return self.public.id

    @property
    def parameters(self) -> EncryptionParameters:
        """The parameters of the public part."""
        return self.public.parameters

    @classmethod
    def generate(cls, parameters: EncryptionParameters) -> "SecretKey":
        """Make a new key from the system's random numbers.

        Raises:
            SettingsError: TenSEAL is missing or cannot use the parameters.
        """
        context = new_context(parameters)
        public = PublicKey(parameters, saved_context(context, secret=False))
        return cls(public, saved_context(context, secret=True))

    @classmethod
    def load(cls, path: Path) -> "SecretKey":
        """Read a secret key file, and check that no other user of the system could read it.

        Raises:
            SettingsError: The file is missing, is no secret key, or other users can read it; the
                message says how to mend it.
        """
        try:
            raw = read_private_file(path, "secret key", _MOST_KEY_BYTES, MAKE_A_PAIR)
        except SettingsError:
            if path.is_file() and _kind_of(path) == PUBLIC_KIND:  # its mode is not the fault
                raise SettingsError(_public_for_secret(path)) from None
            raise
        content = _content(raw, path, SECRET_KIND)
        return cls(_public_part(content, path), _bytes_of(content, "secret", path))

    def save(self, path: Path) -> None:
        """Create the file with the mode 0600.

        Raises:
            SettingsError: There is a file already, or its folder is missing.
            StoreError: It cannot be written.
        """
        more = {"secret": base64.b64encode(self.context).decode()}
        content = _file_bytes(SECRET_KIND, self.public, more)
        create_private_file(path, content, "versions that it encrypted need it")


def load_key(path: Path) -> SecretKey | PublicKey:
    """Read a key file of either kind; raise SettingsError as their own `load` does."""
    return (SecretKey if _kind_of(path) == SECRET_KIND else PublicKey).load(path)


def generate_key_files(folder: Path, parameters: EncryptionParameters) -> SecretKey:
    """Make a key and write its two files into a folder, which is made if there is none.

    Raises:
        SettingsError: The folder has one of the files, TenSEAL is missing, or it cannot use the
            parameters; no file is written.
        StoreError: A file cannot be written.
    """
    for path in (folder / SECRET_NAME, folder / PUBLIC_NAME):
        if path.exists():
            raise SettingsError(
                f"{path}: this file exists; versions that its key encrypted need it, so choose "
                "another folder"
            )
    key = SecretKey.generate(parameters)
    with os_errors_as_store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    key.save(folder / SECRET_NAME)
    key.public.save(folder / PUBLIC_NAME)
    return key


def _public_bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # opening a named pipe would wait
            raise SettingsError(f"key {path}: this is no regular file")
        with path.open("rb") as file:
            return file.read(_MOST_KEY_BYTES + 1)
    except FileNotFoundError:
        raise SettingsError(f"key {path}: there is no such file; {MAKE_A_PAIR}") from None
    except OSError as error:
        raise SettingsError(f"key {path}: {error.strerror or error}") from error


def _kind_of(path: Path) -> str:
    """Return what a key file says that it is; nothing if it is none."""
    try:
        content = json.loads(_public_bytes(path))
    except (SettingsError, ValueError):
        return ""
    return str(content.get("kind")) if isinstance(content, dict) else ""


def _public_for_secret(path: Path) -> str:
    return (
        f"secret key {path}: this is a public key, which cannot decrypt; name the file "
        f"{SECRET_NAME} that was made with it"
    )


def _file_bytes(kind: str, public: PublicKey, more: Mapping[str, str]) -> bytes:
    content = {
        "kind": kind,
        "version": _VERSION,
        "id": public.id,
        "parameters": asdict(public.parameters),
        "public": base64.b64encode(public.context).decode(),
        **more,
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def _content(raw: bytes, path: Path, kind: str) -> dict[str, Any]:
    what = "secret key" if kind == SECRET_KIND else "public key"
    try:
        if len(raw) > _MOST_KEY_BYTES:
            raise ValueError(f"more than {_MOST_KEY_BYTES} bytes")  # noqa: TRY301 - one message for all
        content = json.loads(raw)
        if not isinstance(content, dict):
            raise ValueError("no JSON object")  # noqa: TRY301, TRY004 - as above
    except ValueError:
        raise SettingsError(f"{what} {path}: this is no key file; {MAKE_A_PAIR}") from None
    match content.get("kind"), content.get("version"):
        case found, version if found == kind and version == _VERSION:
            return content
        case found, version if found == kind:
            raise SettingsError(
                f"{what} {path}: version {str(version)[:20]} of the file, and this fedbus reads "
                f"version {_VERSION}; install the fedbus that made it, or {MAKE_A_PAIR}"
            )
        case found, _ if found == SECRET_KIND:
            raise SettingsError(
                f"public key {path}: this is a secret key, which only agents may have; remove it "
                f"from this machine, and name the file {PUBLIC_NAME} that was made with it"
            )
        case found, _ if found == PUBLIC_KIND:
            raise SettingsError(_public_for_secret(path))
        case _:
            raise SettingsError(f"{what} {path}: this is no key file; {MAKE_A_PAIR}")


def _public_part(content: Mapping[str, Any], path: Path) -> PublicKey:
    context = _bytes_of(content, "public", path)
    try:
        found = dict(content["parameters"])
        found["coeff_mod_bit_sizes"] = tuple(found["coeff_mod_bit_sizes"])
        public = PublicKey(EncryptionParameters(**found), context)
    except (KeyError, TypeError, ValueError):
        raise SettingsError(f"key {path}: its parameters cannot be read; {MAKE_A_PAIR}") from None
    except SettingsError as error:
        raise SettingsError(f"key {path}: {error}") from None
    if public.id != content.get("id"):
        raise SettingsError(
            f"key {path}: its content does not have the id {str(content.get('id'))[:12]}, so it "
            "was changed; copy the file again"
        )
    return public


def _bytes_of(content: Mapping[str, Any], name: str, path: Path) -> bytes:
    try:
        return base64.b64decode(cast("str", content[name]), validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise SettingsError(f"key {path}: its part {name!r} is damaged; copy it again") from None
