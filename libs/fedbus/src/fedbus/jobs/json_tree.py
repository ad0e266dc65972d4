"""Bytes to a tree of plain values, with limits applied before anything is built.

What JSON allows and a job does not (a key given twice, NaN, a number beyond all measure) becomes an
`InvalidValue` in its place, so that its path is known and the rest of the file is still judged.
"""

from itertools import islice

from fedbus.errors import WireError
from fedbus.jobs.faults import JobFileError
from fedbus.wire.documents import JobFault
from fedbus.wire.json_reader import MAX_DEPTH, InvalidValue, Place, read_tree, walk

MAX_VALUES = 10_000


def read(data: bytes) -> object:
    """Return the tree; raise `JobFileError` for what concerns the file as a whole."""
    try:
        tree, _ = read_tree(data)
    except WireError as error:
        raise JobFileError([JobFault(key="", problem=str(error))]) from error
    if next(islice(walk(tree), MAX_VALUES, None), None):
        raise JobFileError([JobFault(key="", problem=f"more than {MAX_VALUES} values")])
    return tree


__all__ = ["MAX_DEPTH", "MAX_VALUES", "InvalidValue", "Place", "read", "walk"]
