"""Settings, read once from the environment, typed and frozen.

Every field `data_dir` of a settings class is the variable `FEDBUS_DATA_DIR`. A bad value names its
variable and says what would be right.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from fedbus.errors import SettingsError
from fedbus.jobs.faults import nearest
from fedbus.mqtt.bus import BrokerAddress
from fedbus.runtime.node_name import node_name
from fedbus.runtime.setting_names import PREFIX
from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.wire import topic_names, topics


class ServiceSettings(BaseModel):
    """What every service needs to know."""

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
    root: Annotated[str, Field(description="the topic everything lives under", min_length=1)] = (
        topics.ROOT
    )
    open: Annotated[
        bool, Field(description="answer foreign clients outside our root (loopback only)")
    ] = False
    http: Annotated[
        str | None,
        Field(
            description="host:port of /healthz and /metrics; none by default",
            pattern=r"^[^:]+:\d{1,5}$",
        ),
    ] = None
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
        Field(description="the least serious lines that the log shows"),
    ] = "info"
    in_flight_mb: Annotated[
        int, Field(ge=1, le=4096, description="MiB the broker may have to hold for our transfers")
    ] = 64
    heartbeat_seconds: Annotated[
        float,
        Field(gt=0, le=60, description="between two signs of life; the same in the whole fleet"),
    ] = 5.0
    threads: Annotated[int, Field(ge=1, le=64, description="worker threads")] = 2
    plugins: Annotated[
        tuple[str, ...],
        Field(
            description="plug-ins of others that a job may choose here: their names or their "
            "packages' with commas between, or all",
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
        """Name this node: by its login where that is ROLE.NAME, else by FEDBUS_NAME, else ROLE.1.

        Raises:
            SettingsError: the login is another node's; the broker would drop what we say.
        """
        return node_name(role, self.name, BrokerAddress.parse(self.broker).username)

    def address(self) -> BrokerAddress:
        """The broker, with the password from its file where one is named.

        Raises:
            SettingsError: the address cannot be read, or the file cannot.
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
        SettingsError: every bad variable, by name, with what it should be.
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
            "; ".join(_sentence(kind, fault) for fault in _told(error.errors()))
        ) from error


def _told(faults: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Leave out that a list is too short where its items are refused: they count as missing."""
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
