"""Names of jobs, models, versions and configurations, validated before any request. No I/O."""

import re

from fedbus.errors import SettingsError, WireError
from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.wire.version_choice import VersionChoice, parse_version_choice, version_name_fault


def check_name(what: str, name: str) -> str:
    """Return a name, such as of a job, that may be a topic level and part of file names.

    Raises:
        SettingsError: the name is not valid.
    """
    if not isinstance(name, str) or re.fullmatch(IDENT, name) is None:
        raise SettingsError(f"{str(name)[:80]!a} is no {what}: {IDENT_SAID}")
    return name


def job_id(name: str) -> str:
    """Validate a job's id."""
    return check_name("job's id", name)


def model_name(name: str) -> str:
    """Validate a model's name."""
    return check_name("model's name", name)


def version_choice(model: str, version: int | None = None) -> VersionChoice:
    """Parse `MODEL`, `MODEL@VERSION`, `MODEL@ALIAS` or `MODEL@TAG`, or take a version beside it.

    Raises:
        SettingsError: it is none of these, or states a version twice.
    """
    if not isinstance(model, str):
        model_name(model)
    try:
        choice = parse_version_choice(model)
    except WireError as error:
        raise SettingsError(str(error)) from None
    if version is None:
        return choice
    if "@" in model:
        raise SettingsError(f"{model}: a version is given twice; leave out {version}")
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version < 2**53:
        raise SettingsError(f"{version!a} is no version of model {model!r}: they count from 1")
    return VersionChoice(model=choice.model, version=version)


def version_name(name: str) -> str:
    """Validate the name of an alias or a tag.

    Raises:
        SettingsError: no version can have it.
    """
    fault = version_name_fault(name) if isinstance(name, str) else f"{name!a} is no text"
    if fault:
        raise SettingsError(fault)
    return name


def configuration_name(name: str) -> str:
    """Validate a configuration's id."""
    return check_name("configuration's id", name)
