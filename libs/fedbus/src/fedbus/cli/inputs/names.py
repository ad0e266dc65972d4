"""Names on the command line: judged before anything is asked. Pure."""

import re

from fedbus.errors import SettingsError
from fedbus.scalars import IDENT, IDENT_SAID


def ident(what: str, name: str) -> str:
    """Check the name of a job or a model: it becomes a level of topics and a part of files.

    Raises:
        SettingsError: it is none; says what one is.
    """
    if re.fullmatch(IDENT, name) is None:
        raise SettingsError(f"{name[:80]!a} is no {what}: {IDENT_SAID}")
    return name


def job_id(name: str) -> str:
    """Check a job's id."""
    return ident("job's id", name)


def model_name(name: str) -> str:
    """Check a model's name."""
    return ident("model's name", name)
