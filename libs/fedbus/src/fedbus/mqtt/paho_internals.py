"""The private names of paho and aiomqtt that fedbus uses; a test holds each.

`aiomqtt.Client._client`: the paho client behind it. `paho.Client._sock_recv`: where paho reads the
bytes of its next packet from. Everything else that fedbus calls on the two is public.
"""

import aiomqtt
from paho.mqtt.client import Client, error_string

from fedbus.mqtt.frames import Frame
from fedbus.mqtt.properties import variable_length


def paho_client(client: aiomqtt.Client) -> Client:
    """Return the paho client behind aiomqtt's.

    aiomqtt's own `publish` and `messages` take four turns of the event loop for a publication, and
    its login tells neither what the broker announced nor why the connection closed.
    """
    return client._client  # noqa: SLF001


def hand_over(client: Client, frame: Frame) -> None:
    """Have paho read a control packet as if it came from its socket.

    Raises:
        ValueError: MQTT does not allow this packet here; paho has closed the connection.
    """
    rest = bytes((frame.head,)) + variable_length(len(frame.body)) + frame.body

    def receive(count: int) -> bytes:
        nonlocal rest
        part, rest = rest[:count], rest[count:]
        if not part:
            raise BlockingIOError  # none would mean the end of the connection
        return part

    client._sock_recv = receive  # type: ignore[method-assign,assignment]  # noqa: SLF001
    try:
        code = client.loop_read()
    finally:
        del client._sock_recv  # noqa: SLF001
    if code > 0:
        raise ValueError(f"a packet that MQTT does not allow here: {error_string(code)}")
