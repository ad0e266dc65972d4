"""Names of jobs and models, validated before any request. Performs no I/O."""

import re

from fedbus.errors import SettingsError
from fedbus.scalars import IDENT, IDENT_SAID


def check_name(what: str, name: str) -> str:
    """Return the name of a job or a model, which becomes a topic level and part of file names.

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
