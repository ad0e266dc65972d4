"""Base of the parts of the asyncio client: they share one connection."""

from fedbus.client.connection import ClientConnection


class ClientPart:
    """Methods of a client on its connection."""

    connection: ClientConnection
