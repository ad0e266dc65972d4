"""Errors of task groups."""

import asyncio
from collections.abc import Callable

import pytest

from fedbus.client.failures import Failed
from fedbus.client.task_group_errors import one_error


@pytest.mark.parametrize("make", [ValueError, KeyboardInterrupt])
def test_a_group_of_errors_is_raised_as_the_first(make: Callable[[], BaseException]) -> None:
    """Callers catch it by its type, however deep the groups are."""
    error = make()
    with pytest.raises(type(error)) as caught, one_error():
        raise BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [error])])
    assert caught.value is error


async def test_a_task_groups_error_is_raised_alone() -> None:
    """That is where groups come from."""

    async def fail() -> None:
        raise Failed("it did")

    async def wait_for_it() -> None:
        with one_error():
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fail())
                await asyncio.Event().wait()

    with pytest.raises(Failed, match="it did"):
        await wait_for_it()
