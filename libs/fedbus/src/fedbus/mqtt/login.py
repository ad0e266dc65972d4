"""Meaning of a broker's answer to a login: a refusal, another protocol, missing features. Pure.

The codes are those of MQTT 5 (section 2.4), and the five of MQTT 3.1.1.
"""

from dataclasses import dataclass

from fedbus.wire.blobs import CHUNK_BYTES

WHO_HAS_IT = (
    "fedbus needs MQTT 5, which Mosquitto since 1.6, EMQX, HiveMQ, VerneMQ, NanoMQ, ejabberd, and "
    "RabbitMQ since 3.13 have"
)
LEAST_PACKET = CHUNK_BYTES + 1024
"""A chunk of a model with its header, topic and properties."""

NOT_AUTHORIZED, TAKEN_OVER, NO_SHARES = 0x87, 0x8E, 0x9E
NOBODY_LISTENS = 0x10
_CONNACK, _TLS_ALERT, _TLS_HELLO = 0x20, b"\x15\x03", b"\x16\x03"
_OLD = 2
"""Bytes of an answer of MQTT 3.1.1; one of MQTT 5 has three at least."""

_PASSWORD = "check user name and password"  # noqa: S105 - a sentence
_OLD_CODES = {
    0: f"the broker answers as MQTT 3.1.1 does; {WHO_HAS_IT}",
    1: f"the broker does not support MQTT 5 (unsupported protocol version); {WHO_HAS_IT}",
    2: "the broker does not take this client id, which is the node's name",
    3: "the broker is not available just now",
    4: f"bad user name or password; {_PASSWORD}",
    5: f"not authorized; {_PASSWORD}",
}
_ADVICE = {
    0x82: "the broker takes our login for a protocol error; is this an MQTT 5 broker?",
    0x84: WHO_HAS_IT,
    0x85: "the broker does not take this client id, which is the node's name: does another "
    "account or a rule of the broker's claim it?",
    0x86: _PASSWORD,
    NOT_AUTHORIZED: _PASSWORD,
    0x88: "the broker is starting, stopping or cut off from its cluster; it is asked again",
    0x89: "the broker has too much to do; it is asked again",
    0x8A: "the broker has banned this client: ask its operator",
    0x8C: "the broker wants another kind of authentication than user name and password",
    0x95: "the broker does not take a login as long as ours: raise its packet size",
    0x97: "the broker has as many connections or messages of this account as it allows",
    0x9A: "fedbus keeps presence and job states as retained messages: allow them at the broker",
    0x9C: "this broker sends us to another one: use that one's address",
    0x9D: "this broker has moved: use its new address",
    0x9F: "too many logins at once; it is asked again",
}
_ENDS = {
    TAKEN_OVER: "another process has logged in with this node's name, and the broker lets only one "
    "in: give one of the two a name and login of its own",
    0x8B: "the broker is shutting down",
    0x8D: "it heard nothing from us for too long",
    0x95: "a packet was too large for it",
    0x97: "it has as many messages of this account as it allows",
    0x98: "the operator of the broker has ended this connection",
    0x9A: "fedbus needs retained messages: allow them at the broker",
    NO_SHARES: "it has no shared subscriptions",
    0xA2: "fedbus needs subscriptions with wildcards: allow them at the broker",
}


def refused(who: str, code: int, name: str) -> str:
    """Format why a login was refused; `name` is the code's in MQTT 5."""
    advice = _ADVICE.get(code, "see the broker's log")
    return f"login of {who} refused: {name}; {advice}"


def ended(code: int, said: str) -> str:
    """Format why a broker ended a connection; `said` is its reason or the code's name."""
    more = f"; {_ENDS[code]}" if code in _ENDS else ""
    return f"the broker ended the connection: {said}{more}"


def old_answer(body: bytes, who: str) -> str:
    """Explain an answer of MQTT 3.1.1; "" if it is none."""
    if len(body) != _OLD:
        return ""
    code = body[1]
    return f"login of {who} refused: " + _OLD_CODES.get(
        code, f"code {code} of an older MQTT; {WHO_HAS_IT}"
    )


def stranger(first: bytes, *, tls: bool) -> str:
    """Name the server that answers a login with these bytes; "" if it is an MQTT broker."""
    if first[:1] == bytes((_CONNACK,)):
        return ""
    if first[:2] in (_TLS_ALERT, _TLS_HELLO):
        return "this port wants TLS: write mqtts:// in the broker's address"
    if first[:5] == b"HTTP/":
        return (
            "a web server answers there, or MQTT over websockets, which fedbus does not use: "
            "name the broker's MQTT port (1883, or 8883 with TLS)"
        )
    shown = ascii(bytes(first[:16]).decode("latin-1"))
    port = "8883" if tls else "1883"
    return f"no MQTT broker answers there but something that says {shown}; its port is often {port}"


def closed(*, tls: bool) -> str:
    """Advise on a connection that closed before the login was answered."""
    more = "" if tls else " does the broker want TLS (mqtts://)?"
    return f"closed before the login was answered;{more} does it support MQTT 5? {WHO_HAS_IT}"


def unanswered(seconds: float) -> str:
    """Advise on a login that was not answered at all."""
    return (
        f"no answer to the login in {seconds:g} s; is this a broker, not overloaded, and does it "
        f"support MQTT 5? {WHO_HAS_IT}"
    )


def unreachable(said: str, *, tls: bool) -> str:
    """Advise on a connection that failed; `said` is the error of the operating system."""
    if tls and "reset by peer" in said:
        return f"{said}; does this port use TLS, and not plain mqtt://?"
    hints = (
        ("WRONG_VERSION_NUMBER", "this port does not use TLS: write mqtt:// in the address"),
        ("RECORD_LAYER_FAILURE", "this port does not use TLS: write mqtt:// in the address"),
        ("hostname mismatch", "its certificate is for another name: use that one in the address"),
        ("IP address mismatch", "its certificate is for another name: use that one in the address"),
        ("certificate has expired", "renew the broker's certificate, or set this machine's clock"),
        ("not yet valid", "set this machine's clock"),
        ("CERTIFICATE_VERIFY_FAILED", "name its authority: mqtts://…?ca_file=path"),
        (
            "CERTIFICATE_REQUIRED",
            "the broker wants a certificate of us; fedbus logs in by password",
        ),
        ("HANDSHAKE_FAILURE", "the two share no version of TLS, or it wants a certificate of us"),
        ("EOF occurred", "does this port use TLS, and not plain mqtt://?"),
        ("No such file", "is that the path of the authority's certificate?"),
        ("timed out", "is the address right, and does a firewall let us through?"),
        ("No route", "is the address right, and this machine connected?"),
        ("Name or service", "is the host's name spelled right?"),
        ("No address associated", "is the host's name spelled right?"),
        ("Temporary failure", "can this machine look names up just now?"),
    )
    hint = next((more for word, more in hints if word in said), "is the broker running there?")
    return f"{said}; {hint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFeatures:
    """Features and limits that a broker announces at login; by default those of MQTT 5."""

    most_qos: int = 2
    retains: bool = True
    wildcards: bool = True
    shares: bool = True
    longest: int | None = None
    session_seconds: int | None = None
    unacknowledged: int = 65_535

    @classmethod
    def of(cls, said: object) -> "BrokerFeatures":
        """Read the properties of an answer to a login."""
        return cls(
            most_qos=getattr(said, "MaximumQoS", 2),
            retains=bool(getattr(said, "RetainAvailable", 1)),
            wildcards=bool(getattr(said, "WildcardSubscriptionAvailable", 1)),
            shares=bool(getattr(said, "SharedSubscriptionAvailable", 1)),
            longest=getattr(said, "MaximumPacketSize", None),
            session_seconds=getattr(said, "SessionExpiryInterval", None),
            unacknowledged=getattr(said, "ReceiveMaximum", 65_535),
        )

    @property
    def unfit(self) -> str:
        """Why fedbus cannot work with this broker at all; nothing if it can."""
        if not self.retains:
            return f"this broker keeps no retained messages; {_ADVICE[0x9A]}"
        if not self.wildcards:
            return f"this broker takes no wildcards; {_ENDS[0xA2]}"
        if self.longest is not None and self.longest < LEAST_PACKET:
            return (
                f"this broker takes packets of at most {self.longest} bytes, and a chunk of a "
                f"model needs {LEAST_PACKET}: raise its max_packet_size, to 1048576 best"
            )
        return ""

    def lacks(self, *, keeps: bool) -> tuple[str, ...]:
        """List missing features; `keeps`: we asked it to keep messages while we are away."""
        return (NOT_KEPT,) if keeps and not (self.most_qos and self.session_seconds != 0) else ()


NOT_KEPT = (
    "this broker keeps no messages for who is away (quality of service 1 in a session): a job "
    "published while no controller is connected is lost, unless it is published retained to "
    "jobs/ID/request"
)
NO_SHARED = (
    "this broker has no shared subscriptions: every inference service answers every request, so "
    "run one of them"
)
