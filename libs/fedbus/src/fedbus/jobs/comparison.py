"""Comparison of two job files by meaning. Pure.

The order of keys, white space, the format of numbers and keys with their default value make no
difference.
"""

from typing import Any

from fedbus.jobs.json_tree import read
from fedbus.jobs.parser import parse
from fedbus.jobs.schema import JobFile
from fedbus.wire.job_faults import JobFileError, show
from fedbus.wire.json_reader import path_of, walk

_NOTHING = object()


def differences(known: bytes, sent: bytes) -> list[str]:
    """Return the keys in which two files differ, each with both values; empty: the files are equal.

    The job's id is not compared: one of the files may have a generated one. A file that is not
    valid in this version is compared as JSON.
    """
    try:
        before, now = _trees(known, sent)
    except JobFileError as error:
        return [f"they cannot be compared: {error}"]
    leaves, others = _leaves(before), _leaves(now)
    return [
        f"{key or 'the file'} is {_said(others.get(key, _NOTHING))} here and "
        f"{_said(leaves.get(key, _NOTHING))} there"
        for key in dict.fromkeys((*others, *leaves))
        if not _same(leaves.get(key, _NOTHING), others.get(key, _NOTHING))
    ]


def _trees(known: bytes, sent: bytes) -> tuple[object, object]:
    try:
        return _meant(parse(known)), _meant(parse(sent))
    except JobFileError:
        return _unnamed(read(known)), _unnamed(read(sent))


def _meant(job: JobFile) -> dict[str, Any]:
    return job.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"training_id"})


def _unnamed(tree: object) -> object:
    if not isinstance(tree, dict):
        return tree
    return {key: value for key, value in tree.items() if key != "training_id"}


def _leaves(tree: object) -> dict[str, object]:
    return {
        path_of(place): value
        for place, value in walk(tree)
        if not (isinstance(value, dict | list) and value) and (place or value != {})
    }


def _same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _said(value: object) -> str:
    return "left out" if value is _NOTHING else show(value)
