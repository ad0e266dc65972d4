"""Client without `await`, for notebooks and scripts: `fedbus.connect_sync`.

An event loop of its own runs the asyncio client in a thread, so it works where a loop runs already,
as in Jupyter. Each method is made of the asyncio client's: parameters, types and description are
written once, there.
"""

import atexit
import inspect
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client, login_for
from fedbus.client.connection import ANSWER_SECONDS
from fedbus.client.loop_thread import LoopThread
from fedbus.errors import BusError

P = ParamSpec("P")
R = TypeVar("R")


def connect_sync(
    url: str | None = None,
    *,
    cluster: str | Path | None = None,
    answer_seconds: float = ANSWER_SECONDS,
) -> "SyncClient":
    """Log in at a broker, for a block or until `close`, or else until the interpreter exits.

        fed = fedbus.connect_sync("mqtt://user:password@host:1883")
        print(fed.jobs())

    Arguments and errors are those of `fedbus.connect`.
    """
    return SyncClient(login_for(url, cluster), answer_seconds=answer_seconds)


def _blocking(
    method: Callable[Concatenate[Client, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate["SyncClient", P], R]:
    """Make a method that returns when the coroutine of the asyncio client has ended."""

    @wraps(method)
    def call(self: "SyncClient", /, *args: P.args, **kwargs: P.kwargs) -> R:
        self._check_open()
        return self._thread.run(method(self._client, *args, **kwargs))

    call.__doc__ = _without_await(method.__doc__)
    return call


def _iterating(
    method: Callable[Concatenate[Client, P], AsyncGenerator[R, None]],
) -> Callable[Concatenate["SyncClient", P], Iterator[R]]:
    """Make a method that returns an iterator over an asynchronous one of the asyncio client."""

    @wraps(method)
    def call(self: "SyncClient", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        self._check_open()
        return self._thread.iterate(method(self._client, *args, **kwargs))

    call.__doc__ = _without_await(method.__doc__)
    shown = inspect.signature(method).replace(return_annotation=Iterator)
    vars(call)["__signature__"] = shown  # what `help` prints; else that of the asyncio client
    return call


def _without_await(description: str | None) -> str | None:
    """Return a docstring whose examples call the methods of this client."""
    return None if description is None else re.sub(r"\b(?:await|async) ", "", description)


class SyncClient:
    """The methods of `fedbus.client.Client`, each of which returns when it is done.

    `fedbus.connect_sync` returns one. Threads may share it. Ctrl-C cancels the method that runs.
    A method of a client that is closed raises BusError.
    """

    def __init__(self, login: BrokerLogin, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._thread = LoopThread()
        self._client = Client(login, answer_seconds=answer_seconds)
        atexit.register(self.close)
        try:
            self._thread.run(self._client.open())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def login(self) -> BrokerLogin:
        """The broker, and this client's node name there."""
        return self._client.login

    def close(self) -> None:
        """Log out and end the thread; a second call does nothing."""
        atexit.unregister(self.close)
        if not self._thread.stopped:
            self._thread.run(self._client.close())
            self._thread.stop()

    # ── jobs ────────────────────────────────────────────────────────────────────────────────────

    submit = _blocking(Client.submit)
    submission = _blocking(Client.submission)
    watch = _iterating(Client.watch)
    follow = _iterating(Client.follow)
    cancel = _blocking(Client.cancel)
    forget = _blocking(Client.forget)
    jobs = _blocking(Client.jobs)
    job = _blocking(Client.job)

    # ── records of jobs ─────────────────────────────────────────────────────────────────────────

    job_file = _blocking(Client.job_file)
    job_result = _blocking(Client.job_result)
    job_results = _blocking(Client.job_results)
    configurations = _blocking(Client.configurations)
    configuration = _blocking(Client.configuration)
    add_configuration = _blocking(Client.add_configuration)

    # ── nodes ───────────────────────────────────────────────────────────────────────────────────

    agents = _blocking(Client.agents)
    nodes = _blocking(Client.nodes)

    # ── models ──────────────────────────────────────────────────────────────────────────────────

    models = _blocking(Client.models)
    model = _blocking(Client.model)
    privacy = _blocking(Client.privacy)
    pull = _blocking(Client.pull)
    fetch = _blocking(Client.fetch)
    push = _blocking(Client.push)
    create_empty = _blocking(Client.create_empty)
    release = _blocking(Client.release)
    rotate = _blocking(Client.rotate)

    # ── tags, aliases, lineage ──────────────────────────────────────────────────────────────────

    tag = _blocking(Client.tag)
    untag = _blocking(Client.untag)
    promote = _blocking(Client.promote)
    roll_back = _blocking(Client.roll_back)
    remove_alias = _blocking(Client.remove_alias)
    name_changes = _blocking(Client.name_changes)
    ancestors = _blocking(Client.ancestors)
    descendants = _blocking(Client.descendants)
    leaves = _blocking(Client.leaves)

    # ── inference ───────────────────────────────────────────────────────────────────────────────

    infer = _blocking(Client.infer)
    infer_encoded = _blocking(Client.infer_encoded)

    def _check_open(self) -> None:
        if self._thread.stopped:
            raise BusError(f"{self.login.broker.where}: this client is closed; connect again")
