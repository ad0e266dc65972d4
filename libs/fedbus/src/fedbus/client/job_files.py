"""Job files: read, checked before they are sent, and given an id."""

import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbus.client.names import job_id as checked_job
from fedbus.core import clock
from fedbus.errors import SettingsError
from fedbus.jobs import JobFileError, format_faults, generate_job_id, parse
from fedbus.limits import MAX_IDENT_CHARACTERS, MAX_JOB_FILE_BYTES

_WHAT = 'a job file is JSON, as {"model_name": "digits", "num_rounds": 5}'
_YAML = re.compile(rb"\s*(?:---|#|-\s|[A-Za-z_][\w-]*:(?:\s|$))")
_COUNTED = re.compile(r"(.*)\.([0-9]{1,6})")

JobSource = Mapping[str, Any] | str | Path | bytes
"""A job file: its keys, its path, or its JSON text."""


def job_payload(job: JobSource, job_id: str | None = None) -> bytes:
    """Return a job file as it is sent: as JSON, with an id.

    Raises:
        SettingsError: it cannot be read, is not JSON, or the id is none.
    """
    name, payload = _checked(job)
    return with_own_id(name, payload) if job_id is None else with_id(name, payload, job_id)


def job_content(job: JobSource) -> bytes:
    """Return a job file as JSON, with the id that it has, if it has one.

    Raises:
        SettingsError: it cannot be read, or is not JSON.
    """
    return _checked(job)[1]


def _checked(job: JobSource) -> tuple[str, bytes]:
    """Return how messages call a job file, and its bytes, which are JSON."""
    match job:
        case bytes():
            name, payload = "the job", check_job_file("the job", job)
        case str() if job.lstrip().startswith("{"):
            # A lone surrogate is then no UTF-8, which the controller reports.
            name, payload = "the job", check_job_file("the job", job.encode(errors="surrogatepass"))
        case str() | Path():
            name, payload = str(job), read_job_file(Path(job))
        case Mapping():
            name, payload = "the job", check_job_file("the job", _json(job))
        case _:
            raise SettingsError(
                f"the job: expected a dict, a path or JSON text, got {type(job).__name__}; {_WHAT}"
            )
    return name, payload


def read_job_file(path: Path) -> bytes:
    """Read a job file.

    Raises:
        SettingsError: it cannot be read, or is not JSON; says how to mend it.
    """
    return check_job_file(str(path), _read(path))


def check_job_file(name: str, payload: bytes) -> bytes:
    """Return a job file that can be sent; the controller checks everything else.

    Raises:
        SettingsError: it is empty, too large or not JSON; says how to mend it.
    """
    if not payload.strip():
        raise SettingsError(f"{name}: empty; {_WHAT}")
    if len(payload) > MAX_JOB_FILE_BYTES:
        raise SettingsError(f"{name}: {len(payload)} bytes, at most {MAX_JOB_FILE_BYTES}; {_WHAT}")
    try:
        parse(payload)
    except JobFileError as error:
        # The controller finds all other faults: its version may know more keys, or fewer.
        if all(not fault.key and "JSON" in fault.problem for fault in error.faults):
            yaml = " (this looks like YAML)" if _YAML.match(payload) else ""
            raise SettingsError(f"{name}: {error.faults[0].problem}; {_WHAT}{yaml}") from error
    return payload


def id_of(payload: bytes) -> str | None:
    """Return the id in a job file; None where there is none, or the file has faults."""
    try:
        return parse(payload).training_id
    except JobFileError:
        return None  # the controller reports the faults


def with_id(name: str, payload: bytes, job: str) -> bytes:
    """Return a job file with another id.

    Raises:
        SettingsError: the id is not valid, or the file has faults.
    """
    checked_job(job)
    try:
        parse(payload)
    except JobFileError as error:
        raise SettingsError(format_faults(f"{name} cannot be given an id", error.faults)) from error
    tree = json.loads(payload.decode("utf-8-sig"))
    return json.dumps({**tree, "training_id": job}).encode()


def with_own_id(name: str, payload: bytes) -> bytes:
    """Return a job file with an id: with one, a file that is sent twice is one job."""
    try:
        file = parse(payload)
    except JobFileError:
        return payload  # the controller reports the faults
    if file.training_id is not None:
        return payload
    return with_id(
        name, payload, generate_job_id(file.model_name, clock.utc(), secrets.token_bytes(16))
    )


def next_id(job: str) -> str:
    """Return the id of a job's next run: `first.2` after `first`, then `first.3`."""
    counted = _COUNTED.fullmatch(job)
    name, number = (counted[1], int(counted[2]) + 1) if counted else (job, 2)
    return f"{name[: MAX_IDENT_CHARACTERS - 1 - len(str(number))]}.{number}"


def _json(job: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(job)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise SettingsError(
            f"the job: expected values of JSON (numbers, text, true, lists, dicts): {error}"
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError as error:
        inside = sorted(each.name for each in path.glob("*.json"))
        hint = f"; in it: {', '.join(inside[:5])}" if inside else ""
        raise SettingsError(f"{path}: a folder; name a job file{hint}") from error
    except OSError as error:
        raise SettingsError(f"{str(path)[:200]}: {error.strerror}") from error
    except ValueError as error:  # a zero byte, or a lone surrogate
        raise SettingsError(f"{str(path)[:200]!a}: not a path: {error}; {_WHAT}") from error
