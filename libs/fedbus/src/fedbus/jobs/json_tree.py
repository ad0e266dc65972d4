"""JSON tree of a job file.

A value that JSON allows and a job file does not (a key given twice, NaN, an overlong number)
becomes an `InvalidValue`, so that its path is known and the rest of the file is still checked.
"""

from itertools import islice

from fedbus.errors import WireError
from fedbus.wire.documents import JobFault
from fedbus.wire.job_faults import JobFileError
from fedbus.wire.json_reader import read_tree, walk

MAX_VALUES = 10_000


def read(data: bytes) -> object:
    """Parse the tree; raise `JobFileError` if the file as a whole is not valid."""
    try:
        tree, _ = read_tree(data)
    except WireError as error:
        raise JobFileError([JobFault(key="", problem=str(error))]) from error
    if next(islice(walk(tree), MAX_VALUES, None), None):
        raise JobFileError([JobFault(key="", problem=f"more than {MAX_VALUES} values")])
    return tree
