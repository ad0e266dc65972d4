"""Memory that is lent as memoryviews: used again once no view of it is left. Pure.

A bytearray that is exported refuses to be resized, in every version of Python, so it knows itself
whether a view of it, or an array over one, is left. A count of references would not: CPython 3.14
leaves some of them out.
"""


def is_lent(memory: bytearray) -> bool:
    """Return whether any view of the memory, or array over one, is still held."""
    if not memory:
        return False
    try:
        memory.append(memory.pop())  # as it was, unless it is exported: then it refuses to change
    except BufferError:
        return True
    return False
