"""Configuration of a job: what its file means, without the job's id. Pure.

Files that mean the same have one configuration, whatever their notation: the order of keys, white
space, numbers as text, and keys with their default value make no difference (`comparison.py`
compares in the same way). So a configuration is itself a job file, which leaves the id out.
"""

import json
import sys
from typing import Any, Final

from fedbus.digest import digest_of
from fedbus.jobs.json_tree import read
from fedbus.jobs.parser import parse
from fedbus.jobs.schema import JobFile
from fedbus.wire.job_faults import JobFileError

ID_CHARACTERS: Final = 20
"""Length of a configuration's id: hexadecimal digits of the digest of its content."""
MAX_PLAIN_INTEGER: Final = 2**53
"""Whole numbers up to this size are written with all their digits, and others as a float is: a
configuration is not much longer than its file, and fits a message as well."""


def configuration_of(file: bytes) -> bytes:
    """Return the configuration of a job file: JSON with sorted keys, without defaults and id.

    A file that is not valid in this version of fedbus keeps its keys as they are written.

    Raises:
        JobFileError: The file is not JSON.
    """
    try:
        tree = _written(parse(file))
    except JobFileError:
        tree = read(file)
    if isinstance(tree, dict):
        tree = {key: value for key, value in tree.items() if key != "training_id"}
    return json.dumps(_whole(tree), sort_keys=True, separators=(",", ":"), default=str).encode()


def configuration_id(configuration: bytes) -> str:
    """Return the id of what `configuration_of` returned."""
    return digest_of(configuration)[:ID_CHARACTERS]


def _written(job: JobFile) -> object:
    return job.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def _whole(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Write each number in one way: 1 for 1.0, and 1e+308 for both it and its 309 digits."""
    match value:
        case dict():
            return {key: _whole(each) for key, each in value.items()}
        case list():
            return [_whole(each) for each in value]
        case float() if value.is_integer() and abs(value) <= MAX_PLAIN_INTEGER:
            return int(value)
        case int() if (
            MAX_PLAIN_INTEGER < abs(value) <= sys.float_info.max and float(value) == value
        ):
            return float(value)
    return value
