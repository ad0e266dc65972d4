"""The pipe on a client that does what a test wants."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fedbus.errors import BusError
from fedbus.mqtt.bus import Packet
from fedbus.mqtt.frames import Frame
from fedbus.mqtt.packet_stream import Pipe
from fedbus.mqtt.publications import write_publication
from tests.fedbus.mqtt.fakes import cut


@dataclass
class Client:
    """What paho's client is to the pipe; `near` is its socket, `waiting` its own packets."""

    near: socket.socket | None
    waiting: int = 0
    ended: bool = False
    controls: list[Frame] = field(default_factory=list)
    on_end: Any = lambda: None
    on_socket_register_write: Any = None
    on_socket_unregister_write: Any = None

    def socket(self) -> Any:  # noqa: ANN401 - as paho has it
        return self.near

    def ping(self) -> None:
        self.waiting += 1
        self.on_socket_register_write(self, None, self.near)

    def want_write(self) -> bool:
        return self.waiting > 0

    def loop_write(self) -> None:
        assert self.near is not None
        with suppress(BlockingIOError):
            while self.waiting:
                self.near.send(b"\xc0\0")
                self.waiting -= 1
        if not self.waiting:
            self.on_socket_unregister_write(self, None, self.near)

    def loop_read(self) -> None:
        self.ended, self.near = True, None
        self.on_end()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of one connection."""
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


def piped(client: Client) -> tuple[Pipe, list[Exception]]:
    """Open a pipe on a client; return the list of its faults with it."""
    faults: list[Exception] = []
    pipe = Pipe(client, faults.append, client.controls.append)
    pipe.listen()
    pipe.open()
    return pipe, faults


def fill(near: socket.socket) -> int:
    """Write until the socket takes no more; return the number of bytes."""
    size = 0
    with suppress(BlockingIOError):
        while True:
            size += near.send(bytes(4096))
    return size


def drain(far: socket.socket) -> bytes:
    """Read all that is there."""
    taken = b""
    with suppress(BlockingIOError):
        while part := far.recv(65_536, socket.MSG_DONTWAIT):
            taken += part
    return taken


async def test_publisher_that_finds_the_other_end_gone_is_told(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """A loss that is noticed while writing does not leave the writer waiting for room."""
    client = Client(ends[0])
    pipe, _ = piped(client)
    client.on_end = lambda: pipe.end(BusError("gone"))
    ends[1].close()
    async with asyncio.timeout(5):
        with pytest.raises(BusError, match="gone"):
            await pipe.send(Packet("t", b""))
    asyncio.get_running_loop().remove_reader(ends[0].fileno())


@pytest.fixture
def tls_ends(certificate: tuple[Path, Path]) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """Two ends of one connection, over TLS."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*certificate)
    client = ssl.create_default_context(cafile=certificate[0])
    near, far = socket.socketpair()
    with ThreadPoolExecutor(1) as thread:
        greeted = thread.submit(server.wrap_socket, far, server_side=True)
        one = client.wrap_socket(near, server_hostname="127.0.0.1")
        other = greeted.result()
    one.setblocking(False)
    with one, other:
        yield one, other


@pytest.mark.parametrize("pair", ["ends", "tls_ends"])
async def test_a_failed_send_first_reads_what_has_arrived(
    pair: str, request: pytest.FixtureRequest
) -> None:
    """The broker said why before it closed."""
    near, far = request.getfixturevalue(pair)
    client = Client(near)
    pipe, faults = piped(client)
    client.on_end = lambda: pipe.end(BusError("gone"))
    far.send(b"\x30\x04\0\1a\0" + b"\xe0\x01\x8b")
    far.close()
    await pipe.send(Packet("t", bytes(2**20)))
    assert not client.ended
    assert ([frame.head for frame in client.controls], len(pipe.inbox)) == ([0xE0], 1)
    async with asyncio.timeout(5):
        await pipe.inbox.take()
        with pytest.raises(BusError, match="gone"):
            await pipe.inbox.take()
    assert (client.ended, faults) == (True, [])
    asyncio.get_running_loop().remove_reader(pipe._fd)  # noqa: SLF001 - its socket has none now


async def test_packets_wait_for_room_and_leave_whole_and_in_order(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """However many publish at once, and whatever the client has to say in between."""
    client = Client(ends[0])
    pipe, _ = piped(client)
    before = fill(ends[0])
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        for i in range(5):
            tasks.create_task(pipe.send(Packet(str(i), bytes(50_000))), name=f"publisher {i}")
        await asyncio.sleep(0)
        taken = drain(ends[1])
        client.ping()
        while len(taken) < before + 5 * 50_008 + 2:
            taken += drain(ends[1])
            await asyncio.sleep(0)
    frames = cut(taken[before:])
    sizes = [(frame[0], len(frame)) for frame in frames]
    assert sorted(sizes) == [(0x30, 50_008)] * 5 + [(0xC0, 2)]
    assert [frame[6:7] for frame in frames if frame[0] == 0x30] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("pair", ["ends", "tls_ends"])
async def test_packets_that_are_sent_together_leave_in_order(
    pair: str, request: pytest.FixtureRequest
) -> None:
    """Small and large ones, more than a system call takes, and more bytes than the socket."""
    near, far = request.getfixturevalue(pair)
    pipe, _ = piped(Client(near))
    packets = [Packet(f"{i:04}", bytes(i % 7 * 100)) for i in range(700)]
    packets += [Packet("large", bytes(300_000)), Packet("last", b"")]
    received = ThreadPoolExecutor(1)
    whole = received.submit(lambda: b"".join(iter(lambda: far.recv(65_536), b"")))
    async with asyncio.timeout(5):
        await pipe.send(*packets)
    near.close()
    frames = cut(await asyncio.wrap_future(whole))
    received.shutdown()
    assert b"".join(frames) == b"".join(b"".join(write_publication(each)) for each in packets)
    asyncio.get_running_loop().remove_reader(pipe._fd)  # noqa: SLF001 - its socket is closed


async def test_waiting_publishers_are_told_of_the_end(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """All of them, those inside and those outside."""
    pipe, _ = piped(Client(ends[0]))
    fill(ends[0])
    publishers = [asyncio.create_task(pipe.send(Packet("t", b"")), name=str(i)) for i in range(3)]
    await asyncio.sleep(0)
    pipe.end(BusError("gone"))
    results = await asyncio.gather(*publishers, return_exceptions=True)
    assert [str(result) for result in results] == ["gone"] * 3
    asyncio.get_running_loop().remove_writer(ends[0].fileno())


async def test_publisher_lets_others_run(ends: tuple[socket.socket, socket.socket]) -> None:
    """A task that publishes without end, on a socket that takes it all, does not own the loop."""
    pipe, _ = piped(Client(ends[0]))
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)
    for _ in range(100):
        await pipe.send(Packet("t", b""))
    assert ran.is_set()


async def test_bytes_that_are_no_mqtt_are_told_of_once(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """The pipe reads no more, or it would fail again and again."""
    pipe, faults = piped(Client(ends[0]))
    ends[1].send(b"\x30\xff\xff\xff\xff\xff")
    pipe.read()
    for _ in range(3):
        await asyncio.sleep(0)
    assert [type(fault) for fault in faults] == [ValueError]


async def test_what_the_broker_delivers_again_arrives_marked(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """Its controller may have had it stored in an earlier life."""
    pipe, _ = piped(Client(ends[0]))
    ends[1].send(b"\x32\x06\0\1a\0\7\0" + b"\x3a\x06\0\1a\0\7\0")
    async with asyncio.timeout(5):
        arrived = [await pipe.inbox.take(), await pipe.inbox.take()]
    first = Packet("a", b"", receipt=7)
    assert arrived == [first, replace(first, redelivered=True)]
    asyncio.get_running_loop().remove_reader(ends[0].fileno())


async def test_topic_that_is_no_text_is_passed_over(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """The packets around it arrive; what is no publication is the client's."""
    client = Client(ends[0])
    pipe, faults = piped(client)
    ends[1].send(b"\x30\x04\0\1a\0" + b"\x30\x04\0\1\xff\0" + b"\xd0\0" + b"\x31\x05\0\1b\0!")
    async with asyncio.timeout(5):
        arrived = [await pipe.inbox.take(), await pipe.inbox.take()]
    assert arrived == [Packet("a", b""), Packet("b", b"!", retain=True)]
    assert ([frame.head for frame in client.controls], faults) == ([0xD0], [])
    asyncio.get_running_loop().remove_reader(ends[0].fileno())


@pytest.mark.parametrize("how", ["closed", "reset"])
async def test_the_end_is_found_by_the_client(
    ends: tuple[socket.socket, socket.socket], how: str
) -> None:
    """It knows what to tell of it."""
    client = Client(ends[0])
    pipe, faults = piped(client)
    pipe.read()  # nothing there, which is no end
    assert not client.ended
    if how == "reset":
        ends[0].close()
    else:
        ends[1].close()
    pipe.read()
    pipe.read()
    assert (client.ended, faults) == (True, [])
    asyncio.get_running_loop().remove_reader(pipe._fd)  # noqa: SLF001 - its socket has none now


async def test_an_acknowledgement_waits_its_turn(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """It is written as packets are: behind what waits, and told of the end."""
    pipe, _ = piped(Client(ends[0]))
    before = fill(ends[0])
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(pipe.send(Packet("t", bytes(20_000))), name="publisher")
        tasks.create_task(pipe.acknowledge(7), name="acknowledgement")
        await asyncio.sleep(0)
        taken = b""
        while len(taken) < before + 20_008 + 4:
            taken += drain(ends[1])
            await asyncio.sleep(0)
    assert taken[-4:] == b"\x40\x02\0\7"
    pipe.end(BusError("gone"))
    with pytest.raises(BusError, match="gone"):
        await pipe.acknowledge(8)


async def test_the_first_bytes_are_looked_at_once(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """They tell a broker from whatever else may answer on a port."""
    client, seen = Client(ends[0]), list[bytes]()
    pipe = Pipe(
        client,
        lambda _: None,
        client.controls.append,
        on_first=lambda first: seen.append(bytes(first)),
    )
    pipe.listen()
    for part in (b"\xd0\0", b"\xd0\0"):
        ends[1].send(part)
        pipe.read()
    assert seen == [b"\xd0\0"]
    client.near = None
    pipe.listen()  # the connection is gone already: nothing to listen to
    asyncio.get_running_loop().remove_reader(ends[0].fileno())
