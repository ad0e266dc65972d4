"""Signatures of third-party functions, compared with the arguments of a call. Pure."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

Arguments = tuple[str, ...]


def misfit(
    what: str, call: Callable[..., Any], arguments: Arguments, bound: Arguments = ()
) -> Iterator[str]:
    """Yield a sentence if a function does not take these positional arguments.

    Args:
        what: How the sentence names the function.
        call: A function without a signature, written in C, fits.
        arguments: Names for the sentence; a function may have other names for them.
        bound: Arguments before them that the sentence leaves out, such as `self`.
    """
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*bound, *arguments)
    except TypeError as error:
        takes = [str(p) for p in list(signature.parameters.values())[len(bound) :]]
        yield (
            f"{what} takes ({', '.join(takes)}) and is called with ({', '.join(arguments)}): "
            f"{error}"
        )


def method_misfit(holder: object, name: str, arguments: Arguments) -> Iterator[str]:
    """Yield a sentence if a method of a class or an object does not take these arguments."""
    unbound = isinstance(holder, type) and not isinstance(
        inspect.getattr_static(holder, name), staticmethod | classmethod
    )
    yield from misfit(name, getattr(holder, name), arguments, bound=("self",) if unbound else ())


def call_text(name: str, arguments: Arguments) -> str:
    """Format a call: `combine(blocks, weights)`."""
    return f"{name}({', '.join(arguments)})"
