"""The door to MQTT, on a real Mosquitto."""

import asyncio
import gc
import itertools
import socket
import sys
import tracemalloc
from asyncio.subprocess import PIPE
from dataclasses import replace
from pathlib import Path

import pytest

from fedbus.errors import BusError
from fedbus.mqtt import client as mqtt
from fedbus.mqtt import frames, packet_stream, writer
from fedbus.mqtt.bus import BrokerAddress, Bus, Packet
from fedbus.mqtt.mosquitto import LocalBroker, free_port
from tests.container_sizes import container_sizes, grown
from tests.fedbus.mqtt.fakes import CONNACK, listening

SECONDS = 10.0
CHUNK_BYTES = 256 * 1024
TO_B = "fedbus/v1/link/agent.a/agent.b/"
FOR_B = "fedbus/v1/link/+/agent.b/#"
FOR_A = "fedbus/v1/link/+/agent.a/#"
STATE_A = "fedbus/v1/nodes/agent.a/state"


async def receive(bus: Bus, count: int) -> list[Packet]:
    """Receive this many packets, within the tests' patience."""
    packets: list[Packet] = []
    async with asyncio.timeout(SECONDS):
        while len(packets) < count:
            packets += await bus.receive()
    return packets


async def reach(bus: Bus, name: str) -> None:
    """Wait until the broker has handled all that `bus`, listening as `name`, has sent it."""
    await bus.publish(Packet(f"fedbus/v1/link/{name}/{name}/echo", b""))
    await receive(bus, 1)


# ── packets ─────────────────────────────────────────────────────────────────────────────────────


async def test_packet_arrives_as_it_was_published(broker: LocalBroker) -> None:
    """Topic, payload and properties come through, to a subscriber that listened on entry."""
    sent = Packet(
        TO_B + "hello",
        b"\x00\xff payload",
        content_type="application/json",
        response_topic="fedbus/v1/replies/me",
        correlation=b"\x00\x01",
        expiry=60,
    )
    async with (
        mqtt.connect(broker.address("agent.b"), name="agent.b", listen=[FOR_B]) as b,
        mqtt.connect(broker.address("agent.a"), name="agent.a") as a,
    ):
        await a.publish(sent)
        assert await receive(b, 1) == [sent]


async def test_a_property_that_the_library_would_refuse_ends_no_connection(
    broker: LocalBroker,
) -> None:
    """U+FEFF is legal MQTT; retained, it would keep every subscriber away permanently."""
    async with mqtt.connect(broker.address("agent.b"), name="agent.b", listen=[FOR_B]) as b:
        odd = Packet("fedbus/v1/link/agent.b/agent.b/odd", b"?", content_type="\ufeff", expiry=9)
        await b.publish(odd)
        assert await receive(b, 1) == [odd]


async def test_packet_without_properties_has_none(broker: LocalBroker) -> None:
    """Absent properties are None, not errors."""
    async with mqtt.connect(broker.address("agent.b"), name="agent.b", listen=[FOR_B]) as b:
        await b.publish(Packet("fedbus/v1/link/agent.b/agent.b/note", b""))
        (packet,) = await receive(b, 1)
    assert packet == Packet("fedbus/v1/link/agent.b/agent.b/note", b"")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_payload_may_be_any_bytes(broker: LocalBroker, kind: type) -> None:
    """A slice of a model can be published without a copy of it being made first."""
    async with mqtt.connect(broker.address("agent.b"), name="agent.b", listen=[FOR_B]) as b:
        await b.publish(Packet("fedbus/v1/link/agent.b/agent.b/note", kind(b"some")))
        (packet,) = await receive(b, 1)
    assert packet.payload == b"some"


async def test_retained_packet_greets_a_late_subscriber_until_it_is_cleared(
    broker: LocalBroker,
) -> None:
    """Retained state is delivered marked as such; an empty payload clears it."""
    async with (
        mqtt.connect(broker.address("agent.a"), name="agent.a", listen=[FOR_A]) as a,
        mqtt.connect(broker.address("controller.1"), name="controller.1") as late,
    ):
        await a.publish(Packet(STATE_A, b"online", retain=True))
        await reach(a, "agent.a")
        await late.subscribe(STATE_A)
        assert await receive(late, 1) == [Packet(STATE_A, b"online", retain=True)]
        await a.publish(Packet(STATE_A, b"", retain=True))
        assert (await receive(late, 1))[0].payload == b""


async def test_unsubscribed_topic_is_silent(broker: LocalBroker) -> None:
    """After `unsubscribe` only what is still followed arrives."""
    async with (
        mqtt.connect(broker.address("agent.b"), name="agent.b", listen=[FOR_B]) as b,
        mqtt.connect(broker.address("agent.a"), name="agent.a") as a,
    ):
        await b.subscribe("fedbus/v1/blobs/+/digest")
        await b.unsubscribe("fedbus/v1/blobs/+/digest")
        await a.publish(Packet("fedbus/v1/blobs/agent.a/digest", b"chunk"))
        await a.publish(Packet(TO_B + "end", b""))
        assert [packet.topic for packet in await receive(b, 1)] == [TO_B + "end"]


async def test_what_has_arrived_is_received_at_once_and_in_order(broker: LocalBroker) -> None:
    """One wake-up takes many packets; one by one or in batches, none is lost between."""
    async with (
        mqtt.connect(broker.address("agent.b"), name="agent.b", listen=[FOR_B]) as b,
        mqtt.connect(broker.address("agent.a"), name="agent.a") as a,
    ):
        for i in range(90):
            await a.publish(Packet(TO_B + "n", str(i).encode()))
        seen: list[bytes] = []
        async with asyncio.timeout(SECONDS):
            async for packet in b:
                seen.append(packet.payload)
                if len(seen) == 10:
                    break
            async for batch in b.batches():
                seen += [packet.payload for packet in batch]
                if len(seen) == 90:
                    break
    assert seen == [str(i).encode() for i in range(90)]


async def test_chunks_stream_through_whole_and_in_order(broker: LocalBroker) -> None:
    """64 MiB in chunks under a window: nothing is lost that a subscriber keeps up with."""
    window, count = 16, 256
    async with (
        mqtt.connect(broker.address("agent.b"), name="agent.b", listen=[FOR_B]) as b,
        mqtt.connect(broker.address("agent.a"), name="agent.a", listen=[FOR_A]) as a,
    ):

        async def feed() -> None:
            confirmed = 0
            for i in range(count):
                while i - confirmed >= window:
                    confirmed = int((await a.receive())[-1].payload)
                await a.publish(Packet(TO_B + "chunk", i.to_bytes(4) + bytes(CHUNK_BYTES - 4)))

        seen: list[int] = []
        async with asyncio.timeout(3 * SECONDS), asyncio.TaskGroup() as tasks:
            tasks.create_task(feed(), name="feed")
            async for batch in b.batches():
                seen += [int.from_bytes(packet.payload[:4]) for packet in batch]
                assert {len(packet.payload) for packet in batch} == {CHUNK_BYTES}
                done = str(len(seen)).encode()
                await b.publish(Packet("fedbus/v1/link/agent.b/agent.a/done", done))
                if len(seen) == count:
                    break
    assert seen == list(range(count))


# ── refusals ────────────────────────────────────────────────────────────────────────────────────


async def test_wrong_password_is_said_at_once(broker: LocalBroker) -> None:
    """A refused login names the place, the user and the reason, without waiting for a timeout."""
    address = broker.address("agent.a").with_password("wrong")
    async with asyncio.timeout(5):
        with pytest.raises(BusError, match=r"127.0.0.1:\d+: login of agent.a refused: Not auth"):
            async with mqtt.connect(address, name="agent.a"):
                pass


async def test_missing_user_name_is_said(broker: LocalBroker) -> None:
    """Without an account the error says that none was given."""
    with pytest.raises(BusError, match="login of an anonymous client"):
        async with mqtt.connect(replace(broker.address("agent.a"), username=None), name="x"):
            pass


async def test_a_port_without_a_broker_is_reported() -> None:
    """A closed port is an error that asks whether the broker runs."""
    port = free_port()
    with pytest.raises(BusError, match=rf":{port}: .*refused; is the broker running there"):
        async with mqtt.connect(BrokerAddress("127.0.0.1", port), name="agent.a"):
            pass


async def test_unknown_host_is_said() -> None:
    """So is a name that no name server knows."""
    with pytest.raises(BusError, match=r"no-such-host\.invalid:1883: "):
        async with mqtt.connect(BrokerAddress("no-such-host.invalid"), name="agent.a"):
            pass


async def test_listener_that_hangs_up_is_said_at_once() -> None:
    """A door that closes before the login is answered (TLS, another protocol) is no timeout."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with listening(hang_up) as address:
        async with asyncio.timeout(5):
            with pytest.raises(BusError, match="closed before the login was answered"):
                async with mqtt.connect(address, name="agent.a"):
                    pass


async def test_cancelled_login_leaves_no_connection_behind() -> None:
    """Who stops waiting for a silent broker hangs up, or it would take over its own next login."""
    greeted, gone = asyncio.Event(), asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)
        greeted.set()
        await reader.read()
        gone.set()

    async def log_in(address: BrokerAddress) -> None:
        async with mqtt.connect(address, name="agent.a"):
            pass

    async with listening(never_answer) as address:
        login = asyncio.create_task(log_in(address), name="login")
        async with asyncio.timeout(SECONDS):
            await greeted.wait()
            login.cancel()
            await gone.wait()
        assert login.cancelled()


@pytest.mark.parametrize("topic", ["", "a/+/b", "a/#", "a" * 70_000])
async def test_topic_that_cannot_be_published_to_is_refused(
    broker: LocalBroker, topic: str
) -> None:
    """A wrong topic is an error here, and the connection goes on."""
    async with mqtt.connect(broker.address("agent.b"), name="agent.b", listen=[FOR_B]) as b:
        with pytest.raises(BusError):
            await b.publish(Packet(topic, b""))
        await b.publish(Packet("fedbus/v1/link/agent.b/agent.b/note", b""))
        await receive(b, 1)


async def test_packet_over_the_announced_limit_is_refused_before_it_is_sent(
    broker: LocalBroker,
) -> None:
    """What would cost the connection is not sent; the error names the limit."""
    async with mqtt.connect(broker.address("agent.b"), name="agent.b", listen=[FOR_B]) as b:
        with pytest.raises(BusError, match=r"at most 1048576 \(max_packet_size\)"):
            await b.publish(Packet("fedbus/v1/link/agent.b/agent.b/x", bytes(2**20)))
        await b.publish(Packet("fedbus/v1/link/agent.b/agent.b/x", bytes(2**20 - 100)))
        await receive(b, 1)


# ── loss ────────────────────────────────────────────────────────────────────────────────────────


async def test_packet_the_broker_throws_us_out_for_does_not_poison_the_next_connection(
    broker: LocalBroker,
) -> None:
    """A bad packet costs one connection; a fresh client does not repeat it."""
    address = broker.address("agent.b")
    async with mqtt.connect(address, name="agent.b", listen=[FOR_B]) as bus:
        await bus.publish(Packet("fedbus/v1/link/agent.b/agent.b/\0", b"bad"))
        with pytest.raises(BusError, match=r"ended the connection|connection lost"):
            await receive(bus, 1)
    async with mqtt.connect(address, name="agent.b", listen=[FOR_B]) as bus:
        await bus.publish(Packet("fedbus/v1/link/agent.b/agent.b/x", b"good"))
        assert [packet.payload for packet in await receive(bus, 1)] == [b"good"]


async def test_broker_killed_under_a_task_group_is_a_bus_error_and_a_fresh_login_works(
    own_broker: LocalBroker,
) -> None:
    """Readers and writers all learn of the loss; the next connection is as good as the first."""
    address = own_broker.address("agent.b")
    working = asyncio.Event()

    async def read(bus: Bus) -> None:
        async for _ in bus.batches():
            working.set()

    async def write(bus: Bus) -> None:
        while True:
            await bus.publish(Packet("fedbus/v1/link/agent.b/agent.b/x", bytes(CHUNK_BYTES)))

    async def kill() -> None:
        await working.wait()
        own_broker.kill()

    async def live() -> None:
        async with (
            mqtt.connect(address, name="agent.b", listen=[FOR_B]) as bus,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(read(bus), name="read")
            tasks.create_task(write(bus), name="write")
            tasks.create_task(kill(), name="kill")

    async with asyncio.timeout(SECONDS):
        with pytest.raises(ExceptionGroup) as caught:
            await live()
    broken, rest = caught.value.split(BusError)
    assert broken is not None
    assert rest is None
    assert f"{address.where}: connection lost" in str(broken.exceptions[0])

    own_broker.start()
    async with mqtt.connect(address, name="agent.b", listen=[FOR_B]) as again:
        await again.publish(Packet("fedbus/v1/link/agent.b/agent.b/x", b"again"))
        assert [packet.payload for packet in await receive(again, 1)] == [b"again"]


async def test_broker_killed_while_we_subscribe_is_a_bus_error_at_once(
    own_broker: LocalBroker,
) -> None:
    """A question the broker cannot answer any more does not wait for its timeout."""
    async with mqtt.connect(own_broker.address("agent.b"), name="agent.b") as bus:
        own_broker.kill()
        async with asyncio.timeout(5):
            with pytest.raises(BusError, match="connection lost"):
                await bus.subscribe(FOR_B)


async def test_connection_that_was_left_says_so(broker: LocalBroker) -> None:
    """After its block a bus neither sends nor waits."""
    async with mqtt.connect(broker.address("agent.a"), name="agent.a") as bus:
        pass
    with pytest.raises(BusError, match="this connection was left"):
        await bus.publish(Packet(STATE_A, b""))
    with pytest.raises(BusError, match="this connection was left"):
        await bus.receive()


@pytest.mark.parametrize("name", ["agent.a", "agent.b"])
async def test_second_login_of_an_account_ends_the_first(broker: LocalBroker, name: str) -> None:
    """Two processes with one account, whatever names they claim: the older is not wanted."""
    async with (
        mqtt.connect(broker.address("agent.a"), name="agent.a") as old,
        mqtt.connect(broker.address("agent.a"), name=name) as new,
    ):
        with pytest.raises(BusError):
            await receive(old, 1)
        await new.publish(Packet(TO_B + "x", b""))


@pytest.mark.parametrize(
    "noise", [b"\xff" * 9, b"\x30\x02\x00\x09", b"\x90\x03\x00\x01\x7f", b"\x00\x00"]
)
async def test_noise_from_a_broker_ends_the_connection(noise: bytes) -> None:
    """Bytes that are no MQTT raise BusError, whatever the client library makes of them."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(CONNACK + noise)
        await reader.read()

    async with listening(answer) as address:
        async with asyncio.timeout(SECONDS):
            with pytest.raises(BusError):
                async with mqtt.connect(address, name="agent.a") as bus:
                    await bus.receive()


async def test_fault_in_the_library_ends_the_connection(
    broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a BusError for the task that waits."""

    def fail(_: object, *, lend: bool) -> None:  # noqa: ARG001 - as it is called
        raise RuntimeError("odd")

    async with mqtt.connect(broker.address("agent.b"), name="agent.b", listen=[FOR_B]) as b:
        with monkeypatch.context() as patch:
            patch.setattr("fedbus.mqtt.packet_stream.read_publication", fail)
            await b.publish(Packet("fedbus/v1/link/agent.b/agent.b/x", b""))
            with pytest.raises(BusError, match=r"RuntimeError\('odd'\)"):
                await receive(b, 1)


# ── wills ───────────────────────────────────────────────────────────────────────────────────────

DYING = """
import asyncio, sys
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import BrokerAddress, Packet

async def main():
    address = BrokerAddress.parse(sys.argv[1])
    will = Packet(sys.argv[2], b"dead", content_type="text/plain")
    async with mqtt.connect(address, name=address.username, will=will):
        print("here", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_will_is_published_and_retained_when_a_process_is_killed(broker: LocalBroker) -> None:
    """`kill -9` of an agent tells the controller, and later subscribers."""
    controller, agent = broker.address("controller.1"), broker.address("agent.killed")
    state = "fedbus/v1/nodes/agent.killed/state"
    async with mqtt.connect(controller, name="controller.1", listen=[state]) as watch:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", DYING, agent.url, state, stdout=PIPE
        )
        try:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"here\n"
        finally:
            process.kill()
            await process.communicate()
        assert await receive(watch, 1) == [Packet(state, b"dead", content_type="text/plain")]
        await watch.unsubscribe(state)
        await watch.subscribe(state)
        assert [packet.retain for packet in await receive(watch, 1)] == [True]


async def test_will_is_published_when_an_exception_leaves_the_block(broker: LocalBroker) -> None:
    """A crash that unwinds is a crash."""
    controller, agent = broker.address("controller.1"), broker.address("agent.crashed")
    will = Packet("fedbus/v1/nodes/agent.crashed/state", b"crashed")
    async with mqtt.connect(controller, name="controller.1", listen=[will.topic]) as watch:
        with pytest.raises(ZeroDivisionError):
            async with mqtt.connect(agent, name="agent.crashed", will=will):
                _ = 1 / 0
        assert [packet.payload for packet in await receive(watch, 1)] == [b"crashed"]


async def test_will_is_forgotten_when_the_block_ends(broker: LocalBroker) -> None:
    """Leaving says goodbye, after all that was published."""
    controller, agent = broker.address("controller.1"), broker.address("agent.left")
    will = Packet("fedbus/v1/nodes/agent.left/state", b"never said")
    async with mqtt.connect(controller, name="controller.1", listen=[will.topic]) as watch:
        async with mqtt.connect(agent, name="agent.left", will=will) as bus:
            await bus.publish(Packet(will.topic, b"offline"))
        async with mqtt.connect(agent, name="agent.left") as bus:
            await bus.publish(Packet(will.topic, b"end"))
        assert [packet.payload for packet in await receive(watch, 2)] == [b"offline", b"end"]


# ── back-pressure ───────────────────────────────────────────────────────────────────────────────


async def test_publisher_waits_for_a_broker_that_reads_nothing() -> None:
    """A chunk stream piles up in the kernel's buffer and no further."""
    release = asyncio.Event()
    published = 0

    async def read_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(CONNACK)
        await release.wait()  # the reader's buffer is soon full
        writer.transport.abort()

    async def stream(bus: Bus) -> None:
        nonlocal published
        while True:
            await bus.publish(Packet("x", bytes(CHUNK_BYTES)))
            published += 1

    async with listening(read_nothing) as address, mqtt.connect(address, name="agent.a") as bus:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream(bus), 0.5)
        release.set()
    assert published * CHUNK_BYTES < 32 * 2**20


async def test_full_inbox_lets_the_network_wait_and_loses_nothing(
    broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is busy reads on when it has time; meanwhile its memory does not grow."""
    monkeypatch.setattr(packet_stream, "INBOX_BYTES", 2 * CHUNK_BYTES)
    async with (
        mqtt.connect(broker.address("agent.b"), name="agent.b", listen=[FOR_B]) as b,
        mqtt.connect(broker.address("agent.a"), name="agent.a", listen=[FOR_A]) as a,
    ):
        for i in range(40):
            await a.publish(Packet(TO_B + "chunk", i.to_bytes(4) + bytes(CHUNK_BYTES)))
        await reach(a, "agent.a")
        batches: list[list[int]] = []
        async with asyncio.timeout(SECONDS):
            while sum(map(len, batches)) < 40:
                batch = await b.receive()
                batches.append([int.from_bytes(packet.payload[:4]) for packet in batch])
    assert list(itertools.chain(*batches)) == list(range(40))
    assert max(map(len, batches)) <= 3 + writer.WRITES_PER_TURN


async def test_stalled_subscriber_costs_the_broker_little(own_broker: LocalBroker) -> None:
    """`max_queued_messages` bounds QoS 0 as well: 100 chunks wait, the rest is dropped."""
    with socket.create_connection(("127.0.0.1", own_broker.port)) as stalled:
        account, password = b"agent.b", own_broker.accounts["agent.b"].encode()

        def text(value: bytes) -> bytes:
            return len(value).to_bytes(2) + value

        login = text(b"MQTT") + b"\x05\xc2\x00\x3c\x00" + text(account) + text(account)
        login += text(password)
        stalled.sendall(bytes((0x10, len(login))) + login)
        assert stalled.recv(2)[0] == 0x20
        wanted = b"\x00\x01\x00" + text(FOR_B.encode()) + b"\x00"
        stalled.sendall(bytes((0x82, len(wanted))) + wanted)
        async with mqtt.connect(own_broker.address("agent.a"), name="agent.a", listen=[FOR_A]) as a:
            for _ in range(400):
                await a.publish(Packet(TO_B + "chunk", bytes(CHUNK_BYTES)))
            await reach(a, "agent.a")
            assert memory(own_broker.pid or 0) < 60 * 2**20


def memory(pid: int) -> int:
    """Read a process's resident bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


async def test_what_a_connection_took_is_free_once_it_is_over(broker: LocalBroker) -> None:
    """At once, not when Python looks for circles: a service on a bad link makes thousands."""
    count, room = 20, 2 * frames.ROOM_BYTES
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(count):
            async with mqtt.connect(broker.address("agent.a"), name="agent.a", listen=[FOR_A]) as a:
                await reach(a, "agent.a")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert held < count * room / 2
    for late in (a.publish(Packet(TO_B + "late", b"")), a.receive()):
        with pytest.raises(BusError, match="this connection was left"):
            await late


async def test_nothing_is_kept_of_packets_that_were_sent(broker: LocalBroker) -> None:
    """Of hundreds, after one that was delivered with QoS 1; a service sends thousands an hour."""
    async with mqtt.connect(broker.address("agent.a"), name="agent.a", listen=[FOR_A]) as a:
        packet = Packet("fedbus/v1/link/agent.a/agent.a/echo", b"x")
        await a.deliver(packet)
        await receive(a, 1)
        before = container_sizes(a)
        for _ in range(300):
            await a.publish(packet)
            await a.deliver(packet)
        await receive(a, 600)
        assert grown(before, container_sizes(a), 100) == {}
