"""The encryption key of a controller: read at its start, announced, and used by its jobs."""

import json
from pathlib import Path

import pytest

from fedbus.core.actions import AnnounceEncryptionKey
from fedbus.core.events import Connected
from fedbus.encryption.key_files import PublicKey, SecretKey
from fedbus.encryption.parameters import choose_parameters
from fedbus.errors import SettingsError
from fedbus.jobs import parse
from fedbus.runtime.identity import Identity
from fedbus.runtime.settings import settings_from
from fedbus.strategies.encryption_key_faults import EncryptionKeyFacts
from fedbus_controller.app import ControllerSettings, build, check_plugins
from fedbus_controller.core import ControllerCore

IDENTITY = Identity(name="controller.1", incarnation=1)
KEY = SecretKey(PublicKey(choose_parameters(), b"a public context"), b"a secret context")
ENCRYPTED = json.dumps(
    {"model_name": "digits", "num_rounds": 1, "privacy-mechanisms": {"homomorphic": {}}}
).encode()


def test_a_public_key_is_announced(tmp_path: Path) -> None:
    """TenSEAL is not needed for it."""
    KEY.public.save(tmp_path / "public.key")
    named = {"FEDBUS_ENCRYPTION_KEY": str(tmp_path / "public.key")}
    core = build(settings_from(named, ControllerSettings), IDENTITY).core
    assert isinstance(core, ControllerCore)
    assert AnnounceEncryptionKey(KEY.id) in [*core.handle(Connected(), 0.0)]


def test_a_controller_without_a_key_announces_none() -> None:
    """Most have none."""
    core = build(ControllerSettings(), IDENTITY).core
    assert not [
        each for each in core.handle(Connected(), 0.0) if isinstance(each, AnnounceEncryptionKey)
    ]


def test_a_secret_key_is_refused(tmp_path: Path) -> None:
    """Only agents may have it."""
    KEY.save(tmp_path / "secret.key")
    named = {"FEDBUS_ENCRYPTION_KEY": str(tmp_path / "secret.key")}
    with pytest.raises(SettingsError, match=r"FEDBUS_ENCRYPTION_KEY: .* this is a secret key"):
        build(settings_from(named, ControllerSettings), IDENTITY)


def test_an_encrypted_job_needs_the_key() -> None:
    """The fault says how to make one."""
    file = parse(ENCRYPTED)
    (fault,) = check_plugins(file)
    assert fault.key == "privacy-mechanisms.homomorphic"
    assert "fedbus keys generate" in fault.hint
    known = EncryptionKeyFacts(id=KEY.id, parameters=KEY.parameters)
    assert [*check_plugins(file, encryption=known)] == []
