"""Asyncio client of a fedbus deployment: `fedbus.connect`."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from numpy.typing import ArrayLike

from fedbus.client import inference, nodes
from fedbus.client.address import BrokerLogin, find_login
from fedbus.client.connection import ANSWER_SECONDS, ClientConnection
from fedbus.client.job_methods import JobMethods
from fedbus.client.key_holder_methods import KeyHolderMethods
from fedbus.client.model_methods import ModelMethods
from fedbus.client.push_methods import PushMethods
from fedbus.client.results import InferenceResult, NodeStatus
from fedbus.client.version_name_methods import VersionNameMethods
from fedbus.errors import SettingsError


@asynccontextmanager
async def connect(
    url: str | None = None,
    *,
    cluster: str | Path | None = None,
    answer_seconds: float = ANSWER_SECONDS,
) -> AsyncIterator["Client"]:
    """Log in at a broker for the length of a block.

        async with fedbus.connect("mqtt://user:password@host:1883") as fed:
            print(await fed.jobs())

    Args:
        url: `mqtt://user:password@host:port`, or `mqtts://` with TLS (`?ca_file=PATH` names a
            certificate authority). By default FEDBUS_BROKER, or else the local cluster that was
            started last, as for the `fedbus` command.
        cluster: The folder of a local cluster, as `fedbus up --cluster` has it, instead of a URL.
        answer_seconds: How long to wait for the answer of a service; blobs have their own limit,
            60 s without progress.

    Raises:
        SettingsError: the URL cannot be read, or both a URL and a cluster are given.
        Unreachable: no URL is given and no local cluster runs.
        BusError: the broker is unreachable, or refuses the account.
    """
    async with Client(login_for(url, cluster), answer_seconds=answer_seconds) as client:
        await client.open()
        yield client


def login_for(url: str | None, cluster: str | Path | None) -> BrokerLogin:
    """Find the broker that the arguments of `connect` name.

    Raises:
        SettingsError: the URL cannot be read, or both are given.
        Unreachable: neither is given and no local cluster runs.
    """
    if url is not None and cluster is not None:
        raise SettingsError("expected a URL or a cluster, got both; leave one out")
    environ = os.environ if url is None else {**os.environ, "FEDBUS_BROKER": url}
    return find_login(environ, None if cluster is None else Path(cluster).resolve())


class Client(JobMethods, ModelMethods, PushMethods, KeyHolderMethods, VersionNameMethods):
    """Jobs, agents, models and inference of one deployment, over one MQTT connection.

    `fedbus.connect` returns one. Methods may run at the same time; clients of one account share a
    connection. Where it breaks, each method connects again and repeats its request, and raises
    BusError if the broker is unreachable; `watch` and `follow` wait for the broker to come back.
    A name that no job or model can have raises SettingsError before any request.
    """

    def __init__(
        self,
        login: BrokerLogin,
        tell: Callable[[str], None] = lambda _: None,
        *,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.connection = ClientConnection(login, tell, answer_seconds)
        self._submitted: set[str] = set()

    @property
    def login(self) -> BrokerLogin:
        """The broker, and this client's node name there."""
        return self.connection.login

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Log in now instead of with the first method that is called.

        Raises:
            BusError: the broker is unreachable, or refuses the account.
        """
        await self.connection.open()

    async def close(self) -> None:
        """Log out; methods that still run raise BusError."""
        await self.connection.close()

    # ── nodes ───────────────────────────────────────────────────────────────────────────────────

    async def agents(self) -> tuple[NodeStatus, ...]:
        """Fetch what every agent says of itself, online or not.

            examples = {one.node: one.facts.examples for one in await fed.agents() if one.facts}

        Raises:
            BusError: the connection is lost.
        """
        return tuple(one for one in await self.nodes() if one.role == "agent")

    async def nodes(self) -> tuple[NodeStatus, ...]:
        """Fetch what every node says of itself, services and agents, online or not.

            print([one.node for one in await fed.nodes() if one.online])

        Raises:
            BusError: the connection is lost.
        """
        return await nodes.nodes(self.connection)

    # ── inference ───────────────────────────────────────────────────────────────────────────────

    async def infer(self, model: str, inputs: ArrayLike) -> InferenceResult:
        """Ask the inference service what a version of a model answers, by default the newest.

            prediction = await fed.infer("digits", x[:8])
            print(prediction.version, prediction.outputs.argmax(axis=1))
            before = await fed.infer("digits@3", x[:8])

        Args:
            model: The model's name; with `@3`, `@production` or `@TAG` the version that answers,
                with `@latest` the newest one where the service follows an alias.
            inputs: One row or a batch, as the agents' pipelines make them; at most 1 MiB in all.

        Raises:
            Refused: the service says why it has no answer: no such model, inputs of another shape.
            Unreachable: no inference service answered.
        """
        return await inference.infer(self.connection, inference.target_of(model), inputs)

    async def infer_encoded(self, model: str, payload: bytes, content_type: str) -> dict[str, Any]:
        """Send a request that is encoded already, and return the decoded answer.

            answer = await fed.infer_encoded("digits", b'{"inputs": [[0.5]]}', "application/json")

        Raises:
            Refused, Unreachable: as `infer`.
        """
        target = inference.target_of(model)
        return await inference.request(self.connection, target, payload, content_type)
