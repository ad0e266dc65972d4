"""Setting FEDBUS_ENCRYPTION_KEY of controller and repository: the public key, read at the start."""

from pathlib import Path

from fedbus.encryption.key_files import PublicKey
from fedbus.errors import SettingsError
from fedbus.runtime.setting_names import PREFIX


def public_key_of(path: Path | None) -> PublicKey | None:
    """Read the public key of the setting, if it is set; TenSEAL is not needed.

    Raises:
        SettingsError: It is no public key, for example a secret one, which only agents may have.
    """
    if path is None:
        return None
    try:
        return PublicKey.load(path)
    except SettingsError as error:
        raise SettingsError(f"{PREFIX}ENCRYPTION_KEY: {error}") from error
