"""Generator of `docs/settings.md` and `known_settings.py` from the services' settings classes."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from fedbus.cluster.caller_settings import OF_THE_COMMAND, PASSED_ON, TOKENS_FILE
from fedbus.runtime.settings import PREFIX, ServiceSettings
from fedbus_collector.app import CollectorSettings
from fedbus_controller.app import ControllerSettings
from fedbus_edge_agent.settings import AgentSettings
from fedbus_inference.settings import InferenceSettings
from fedbus_repository.app import RepositorySettings

SERVICES: dict[str, type[ServiceSettings]] = {
    "agent": AgentSettings,
    "collector": CollectorSettings,
    "controller": ControllerSettings,
    "inference": InferenceSettings,
    "repository": RepositorySettings,
}
COMMAND = {
    "broker": "overrides the cluster that runs on this machine; `--broker` overrides it",
    "password_file": "the password for FEDBUS_BROKER",
    "root": "the root of FEDBUS_BROKER's topics",
    "repository": "the repository that `fedbus models` asks",
    "plugins": "`fedbus plugins` marks the plug-ins that it allows",
}
"""Settings that the `fedbus` command reads, with their effect."""
OTHERS = {
    "FAULT_AT": "every service, for tests: `step:count` kills it with SIGKILL at that step",
    "FRAMEWORK": "compose.yaml: the framework in the images of agents and inference; `tflite`",
    "MEMORY": "compose.yaml: memory limit of agents and inference; `512m`",
    "PORT": "compose.yaml: the broker's port on 127.0.0.1; `1883`",
    "RING_SEED": "tests: run one seed of the ring's fault tests",
    "RING_SEEDS": "tests: the number of seeds of each job on the ring",
    "SLOTS": "compose.yaml: the number of accounts for agents; `20`",
    "STORM_SEED": "tests: run one seed of the fault tests on processes",
    "STORM_SEEDS": "tests: the number of seeds that `make storm` runs",
    "WRONG": "tests: the kind of wrong updates of the hostile agent",
}
HEAD = """# Settings

Generated from the services' settings classes by `make docs`; do not edit.

A service reads its settings once, at its start, from environment variables; there is no settings
file. An invalid value ends the service (exit code 2) with a message that names the variable and the
expected values. A misspelt variable, such as `FEDBUS_PIPELIN`, ends it too, with the most similar
setting; any other unknown variable `FEDBUS_…` is logged. The `fedbus` command warns of both. A
service ignores settings of other services, so several services may share one environment. An empty
value counts as not set.

Flags are `true` or `false`. List items are separated by commas.

## Every service

"""
TABLE = "| setting | value | default | meaning |\n|---|---|---|---|\n"
NAMES_HEAD = '''"""Names of all FEDBUS_ variables that any part of fedbus reads.

Generated from the services' settings classes by `make docs`; do not edit.
"""

KNOWN: frozenset[str] = frozenset({
'''


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of a settings class, as a row of the page."""

    name: str
    value: str
    default: str
    what: str

    def row(self) -> str:
        """Format the setting as a table row."""
        cells = (f"`{PREFIX}{self.name.upper()}`", self.value, self.default, self.what)
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def write() -> str:
    """Return the page."""
    shared = {setting.name: setting for setting in settings_of(ServiceSettings)}
    parts = [HEAD, TABLE, *(setting.row() for setting in shared.values())]
    for service, kind in SERVICES.items():
        own = [s for s in settings_of(kind) if s != shared.get(s.name)]
        parts += [f"\n## Service `{service}`\n\n", TABLE, *(setting.row() for setting in own)]
    parts.append("\n## The `fedbus` command\n\n| setting | effect |\n|---|---|\n")
    parts += [f"| `{PREFIX}{name.upper()}` | {what} |\n" for name, what in COMMAND.items()]
    parts += ["\n", textwrap.fill(_passed_on(), 100, break_on_hyphens=False), "\n"]
    parts.append("\n## Elsewhere\n\n| variable | reader and purpose |\n|---|---|\n")
    parts += [f"| `{PREFIX}{name}` | {what} |\n" for name, what in OTHERS.items()]
    return "".join(parts)


def _passed_on() -> str:
    passed_on, unwarned = (
        ", ".join(f"`{PREFIX}{name}`" for name in sorted(names))
        for names in (PASSED_ON, OF_THE_COMMAND - {TOKENS_FILE})
    )
    return (
        f"`fedbus up` passes these on to the services of its cluster: {passed_on}. It passes on no "
        "other, and warns of each other setting of a service that has a value. It does not warn of "
        f"those by which other `fedbus` commands choose what they ask ({unwarned}), and of "
        f"`{PREFIX}{TOKENS_FILE}` only without `--http`."
    )


def write_names() -> str:
    """Return the text of `known_settings.py`."""
    fields = {name for kind in SERVICES.values() for name in kind.model_fields}
    names = sorted({PREFIX + name.upper() for name in fields | set(COMMAND) | set(OTHERS)})
    quoted = " ".join(f'"{name}",' for name in names)
    rows = textwrap.fill(quoted, 100, initial_indent="    ", subsequent_indent="    ")
    return f"{NAMES_HEAD}{rows}\n}})  # fmt: skip\n"


def settings_of(kind: type[ServiceSettings]) -> Iterator[Setting]:
    """Yield the settings of a class, in the order of its fields."""
    schema = kind.model_json_schema()
    for name, field in kind.model_fields.items():
        value = schema["properties"][name]
        yield Setting(name, _value(value), _default(field.default), field.description or "")


def _value(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        (schema,) = (each for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return " or ".join(f"`{word}`" for word in schema["enum"])
    kind, form = schema["type"], schema.get("format", "")
    if kind == "array":
        return (
            f"list of {_value(schema['items'])}" if "enum" in schema["items"] else "list of names"
        )
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + _range(schema)
    text = {"path": "path", "password": "text, secret"}.get(form, "text")
    return {"object": "JSON object", "boolean": "flag"}.get(kind, text)


def _range(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    words = [f"{low} or more"] if low is not None and high is None else []
    words += [f"{low} to {high}"] if low is not None and high is not None else []
    words += [f"above {above}"] if above is not None else []
    words += [f"at most {high}"] if high is not None and low is None else []
    return f", {', '.join(words)}" if words else ""


def _default(value: object) -> str:
    match value:
        case None | ():
            return ""
        case dict():
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case tuple():
            return f"`{','.join(map(str, value))}`"
        case Path():
            return f"`{value.as_posix()}`"
    return "**required**" if value is PydanticUndefined else f"`{value}`"
