"""Parser of job files: bytes to a `JobFile`, or to all faults."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import Any, Protocol

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fedbus.jobs.consistency import consistency_faults
from fedbus.jobs.foreign_keys import FOREIGN_OBJECTS, translate
from fedbus.jobs.framework_checks import argument_faults, valid_part_of
from fedbus.jobs.json_tree import read
from fedbus.jobs.privacy_consistency import ACCOUNTING, PRIVACY, privacy_faults
from fedbus.jobs.schema import PARTS, RENAMED_KEYS, JobFile
from fedbus.scalars import IDENT_SAID
from fedbus.text import nearest
from fedbus.wire.documents import JobFault
from fedbus.wire.job_faults import MAX_FAULTS, JobFileError, show
from fedbus.wire.json_reader import InvalidValue, Place, path_of, walk

_WHOLE = "expected a whole number, got {value}"
_NUMBER = "expected a number, got {value}"
_FLAG = "expected true or false, got {value}"
_LIST = "expected a list, got {value}"
_OBJECT = "expected an object, got {value}"
_NAME = f"expected {IDENT_SAID}, got {{value}}"
_FEW = 8
_PARAMETERS = ".parameters."
_SENTENCES = {
    "flag_for_number": _NUMBER,
    "argument": "{value}, {msg}",
    "power_of_two": "{msg}, got {value}",
    "key_id": "{msg}, got {value}",
    "missing": "missing",
    "extra_forbidden": "unknown key",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _FLAG,
    "bool_parsing": _FLAG,
    "string_unicode": "not text that can be written as UTF-8",
    "string_type": "expected text, got {value}",
    "string_too_long": "longer than {max_length} characters",
    "string_pattern_mismatch": _NAME,
    "greater_than": "expected more than {gt:.10g}, got {value}",
    "greater_than_equal": "expected at least {ge:.10g}, got {value}",
    "less_than": "expected less than {lt:.10g}, got {value}",
    "less_than_equal": "expected at most {le:.10g}, got {value}",
    "literal_error": "expected {expected}, got {value}",
    "too_long": "more than {max_length} entries",
    "tuple_type": _LIST,
    "model_type": _OBJECT,
    "dict_type": _OBJECT,
}


class ExtraChecks(Protocol):
    """Further checks of a job by the caller of `parse`."""

    def __call__(self, job: JobFile, /, *, complete: bool) -> Iterable[JobFault]:
        """Return faults; a job that is not `complete` lacks the parts that have other faults."""
        ...


def _none(_: JobFile, /, *, complete: bool) -> Iterable[JobFault]:  # noqa: ARG001 - as `ExtraChecks`
    return ()


def parse(data: bytes, extra_checks: ExtraChecks = _none) -> JobFile:
    """Parse a job file.

    The valid parts of a file with faults are checked further, so that all faults are found at once.

    Raises:
        JobFileError: has every fault, in the order of the file.
    """
    sent = read(data)
    places = [(path_of(place), value) for place, value in walk(sent)]
    translated = translate(sent)
    faults = [JobFault(key=k, problem=v.problem) for k, v in places if isinstance(v, InvalidValue)]
    faults += translated.faults
    job, found = _validated(
        translated.tree if isinstance(sent, dict) else sent, extra_checks, faults
    )
    if job is None or found:
        named = (replace(fault, key=translated.written(fault.key)) for fault in found)
        order = {key: index for index, (key, _) in enumerate(places)}
        raise JobFileError(sorted(named, key=lambda fault: order.get(fault.key, len(order))))
    return job


def _validated(
    tree: object, extra_checks: ExtraChecks, faults: Sequence[JobFault]
) -> tuple[JobFile | None, list[JobFault]]:
    """Return the job, if its form is valid, and its faults beside those that are known."""
    found = [*faults]
    job: JobFile | None = None
    try:
        job = JobFile.model_validate(tree)
    except ValidationError as error:
        found += _faults_of(error)
    faulty = {fault.key.partition("[")[0] for fault in found} | {fault.key for fault in found}
    written = {path_of(place): value for place, value in walk(tree) if value is not None}
    meant = [*consistency_faults(written), *privacy_faults(written)]
    if isinstance(tree, dict):
        seen = valid_part_of(tree) if job is None else job
        complete = job is not None and not found and not meant
        judged = (
            fault
            for fault in extra_checks(seen, complete=complete)
            if not _begins(fault.key, faulty)
        )
        stated = {fault.key for fault in meant}
        meant += (f for f in chain(argument_faults(seen), judged) if f.key not in stated)
    return job, found + [fault for fault in meant if fault.key not in faulty]


def _begins(key: str, faulty: Iterable[str]) -> bool:
    """Return whether a key below this one has a fault, so that the object cannot be checked.

    Parameters are left out together if one of them has a fault: none of them is missing then.
    """
    whole = key.rpartition(".")[0] if _PARAMETERS in key else key
    return any(other.startswith((f"{whole}.", f"{whole}[")) for other in faulty)


def canonical(job: JobFile) -> bytes:
    """Format a job as canonical JSON: sorted keys, defaults filled in; `parse` reads it back."""
    plain = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def schema(references: str = "#/$defs/{model}") -> dict[str, Any]:
    """Return the JSON Schema of the job file; `references` is the format of `$ref`."""
    return JobFile.model_json_schema(by_alias=True, ref_template=references)


def _faults_of(error: ValidationError) -> Iterator[JobFault]:
    for index, found in enumerate(error.errors(include_url=False)):
        # An invalid value is reported already; a default that needs another key is not a fault.
        repeated = isinstance(found["input"], InvalidValue) and found["type"] != "extra_forbidden"
        if not repeated and found["type"] != "default_factory_not_called":
            yield _fault(found, hinted=index < MAX_FAULTS)


def _fault(found: ErrorDetails, *, hinted: bool) -> JobFault:
    sentence = _SENTENCES.get(found["type"], "{msg}")
    problem = sentence.format(value=show(found["input"]), msg=found["msg"], **found.get("ctx", {}))
    unknown = found["type"] == "extra_forbidden"
    key = path_of(found["loc"])
    hint = str(found.get("ctx", {}).get("hint", ""))
    if unknown and hinted:
        hint = _hint_for_unknown(key, found["loc"])
    return JobFault(key=key, problem=problem, hint=hint)


def _hint_for_unknown(key: str, place: Place) -> str:
    """Name the key that is meant: renamed, of another object, or spelled alike."""
    if key in RENAMED_KEYS:
        return f"it is now '{RENAMED_KEYS[key]}'"
    *above, name = (part for part in place if isinstance(part, str))
    here = PARTS[tuple(above)].names()
    homes = _homes()
    spelled = here if above else (*here, *FOREIGN_OBJECTS)
    inside = path_of((*place[:-1], "parameters", name))
    mechanism = len(above) > 1 and above[0] == PRIVACY
    if (mechanism or name not in homes) and (near := nearest(name, spelled) or _begun(name, here)):
        other = near != "parameters" and "parameters" in here
        return f"did you mean '{near}'?" + (f" Or '{inside}'?" if other else "")
    if "parameters" in here and not homes.get(name, "").startswith("round."):
        return f"a parameter is written as '{inside}'; the keys here are {', '.join(here)}"
    near = nearest(name, homes)
    if near and not (mechanism and _is_of_mechanism(homes[near])):
        return f"did you mean '{homes[near]}'?"
    return f"its keys are {', '.join(here)}" if len(here) <= _FEW else ""


def _begun(name: str, choices: Iterable[str]) -> str:
    """Return the choice of which a name is the first word, or beginnings of all words."""
    begun = (
        each
        for each in choices
        if each.startswith(f"{name}-") or ("-" in each and _shortens(name, each.split("-")))
    )
    return next(begun, "")


def _shortens(name: str, words: Sequence[str]) -> bool:
    """Return whether a name is made of a beginning of each word: secagg, of secure aggregation."""
    if not words:
        return not name
    first, *others = words
    return any(
        name.startswith(first[:size]) and _shortens(name[size:], others)
        for size in range(1, len(first) + 1)
    )


def _is_of_mechanism(key: str) -> bool:
    return key.startswith(f"{PRIVACY}.") and not key.startswith(f"{ACCOUNTING}.")


@cache
def _homes() -> dict[str, str]:
    """Return every key with its path; of two objects with the key, the first one."""
    return {
        key: path_of((*path, 0, key) if path == ("config",) else (*path, key))
        for path, part in reversed([*PARTS.items()])
        for key in part.names()
    }
