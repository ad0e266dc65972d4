"""Settings of services, read once from the environment, typed and frozen.

The field `data_dir` of a settings class is the variable `FEDBUS_DATA_DIR`. The error for a bad
value names the variable and what was expected.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from fedbus.errors import SettingsError
from fedbus.mqtt.bus import BrokerAddress
from fedbus.runtime.heartbeat import HEARTBEAT_SECONDS
from fedbus.runtime.node_name import node_name
from fedbus.runtime.setting_names import PREFIX
from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.text import nearest
from fedbus.wire import topic_names, topics

RepositoryNode: TypeAlias = Annotated[
    str,
    Field(description="the repository's node, as repository.1", pattern=rf"^repository\.{IDENT}$"),
]


class ServiceSettings(BaseModel):
    """Settings of every service."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: Annotated[
        str | None,
        Field(
            pattern=rf"^{IDENT}$",
            description="this node's name, without its role; by default the NAME of a login "
            "ROLE.NAME, else 1",
        ),
    ] = None
    broker: Annotated[str, Field(description="mqtt://user:password@host:port, or mqtts://")] = (
        "mqtt://127.0.0.1:1883"
    )
    password_file: Annotated[
        Path | None,
        Field(description="a file that holds the broker password, instead of the address"),
    ] = None
    root: Annotated[str, Field(description="the topic that all topics are below", min_length=1)] = (
        topics.ROOT
    )
    open: Annotated[
        bool,
        Field(description="send replies to foreign clients outside the root too (loopback only)"),
    ] = False
    http: Annotated[
        str | None,
        Field(
            description="host:port of /healthz and /metrics; none by default",
            pattern=r"^[^:]+:\d{1,5}$",
        ),
    ] = None
    http_tokens_file: Annotated[
        Path | None,
        Field(
            description="file with the tokens of this service's HTTP API, which is off without it; "
            "`fedbus tokens` writes it, and it is read again when it changes"
        ),
    ] = None
    http_cert: Annotated[
        Path | None, Field(description="a certificate in PEM format: HTTP is then served over TLS")
    ] = None
    http_key: Annotated[Path | None, Field(description="the private key of that certificate")] = (
        None
    )
    health_file: Annotated[
        Path | None,
        Field(description="a file that is touched every heartbeat while connected to the broker"),
    ] = None
    log: Annotated[
        Literal["auto", "console", "json"],
        Field(description="console on a terminal, JSON otherwise"),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description="the lowest level that is logged"),
    ] = "info"
    in_flight_mb: Annotated[
        int, Field(ge=1, le=4096, description="MiB that this node's transfers may have in transit")
    ] = 64
    heartbeat_seconds: Annotated[
        float,
        Field(gt=0, le=60, description="time between two heartbeats; the same in the whole fleet"),
    ] = HEARTBEAT_SECONDS
    threads: Annotated[int, Field(ge=1, le=64, description="number of worker threads")] = 2
    plugins: Annotated[
        tuple[str, ...],
        Field(
            description="third-party plug-ins that a job may choose here: names of plug-ins or "
            "packages, separated by commas, or all",
            max_length=256,
        ),
    ] = ()

    @field_validator("root")
    @classmethod
    def _levels(cls, value: str) -> str:
        if why := topic_names.root_fault(value):
            raise ValueError(why)
        return value

    @field_validator("plugins", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(word for part in value.split(",") if (word := part.strip()))

    def node(self, role: str) -> str:
        """Return the node name: the login if it is ROLE.NAME, else by FEDBUS_NAME, else ROLE.1.

        Raises:
            SettingsError: the login is another node's: the broker would drop this node's messages.
        """
        return node_name(role, self.name, BrokerAddress.parse(self.broker).username)

    def address(self) -> BrokerAddress:
        """Return the broker's address, with the password of FEDBUS_PASSWORD_FILE if it is set.

        Raises:
            SettingsError: the address is not valid, or the file cannot be read.
        """
        address = BrokerAddress.parse(self.broker)
        if self.password_file is None:
            return address
        try:
            password = self.password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(
                f"{PREFIX}PASSWORD_FILE: {self.password_file}: {error.strerror}"
            ) from error
        return address.with_password(password)


S = TypeVar("S", bound=ServiceSettings)


def settings_from(environ: Mapping[str, str], kind: type[S]) -> S:
    """Read a service's settings.

    Raises:
        SettingsError: names every bad variable and what was expected.
    """
    given = {
        field: environ[PREFIX + field.upper()]
        for field in kind.model_fields
        if environ.get(PREFIX + field.upper())
    }
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise SettingsError(
            "; ".join(_sentence(kind, fault) for fault in _reported(error.errors()))
        ) from error


def _reported(faults: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Yield the errors, without that a list is too short if its items are already refused."""
    refused = {fault["loc"][0] for fault in faults if len(fault["loc"]) > 1}
    for fault in faults:
        if len(fault["loc"]) > 1 or fault["loc"][0] not in refused:
            yield fault


def _sentence(kind: type[ServiceSettings], fault: object) -> str:
    assert isinstance(fault, dict)  # noqa: S101 - pydantic's ErrorDetails is a TypedDict
    field = str(fault["loc"][0])
    described = kind.model_fields[field].description
    hint = f" ({described})" if described else ""
    variable = f"{PREFIX}{field.upper()}"
    match fault["type"], fault.get("ctx", {}):
        case "missing", _:
            return f"{variable} is not set{hint}"
        case "string_pattern_mismatch", {"pattern": pattern}:
            wanted = IDENT_SAID if pattern == f"^{IDENT}$" else described
            return f"{variable}={fault['input']!r}: not {wanted}"
        case "literal_error", {"expected": str(expected)}:
            said = str(fault["input"])
            near = nearest(said, re.findall(r"'([^']*)'", expected))
            meant = f"; did you mean {near!r}?" if near else ""
            return f"{variable}={said!r}: not {expected}{meant}{hint}"
    said = str(fault["msg"]).removeprefix("Value error, ")
    return f"{variable}={fault['input']!r}: {said}{hint}"
