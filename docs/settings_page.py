"""Make `docs/settings.md`, and the list of all names, of the services' settings classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

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
    "password_file": "the same, for FEDBUS_BROKER",
    "root": "the same, for FEDBUS_BROKER",
    "repository": "whom `fedbus models` asks",
    "plugins": "`fedbus plugins` marks what this lets a job choose; `fedbus up` passes it on",
    "log_level": "`fedbus up` passes it on to its services",
}
"""What the `fedbus` command reads, and what it makes of it."""
OTHERS = {
    "FAULT_AT": "every service, for tests: `step:count` kills it with SIGKILL at that step",
    "FRAMEWORK": "compose.yaml: what agents and inference are built with; `tflite`",
    "MEMORY": "compose.yaml: memory limit of agents and inference; `512m`",
    "PORT": "compose.yaml: the broker's port on 127.0.0.1; `1883`",
    "RING_SEED": "tests: one seed of the ring's fault tests",
    "SLOTS": "compose.yaml: how many agents can have an account; `20`",
    "STORM_SEED": "tests: one seed of the storm",
    "STORM_SEEDS": "tests: how many seeds `make storm` runs",
    "WRONG": "tests: how the hostile agent lies",
}
HEAD = """# Settings

Generated from the services' settings classes by `make docs`; do not edit.

A service reads its settings once, at its start, from variables of its environment; there is no
file of settings. A bad value is refused (exit code 2) with the variable's name and what was
expected. A misspelt variable, such as `FEDBUS_PIPELIN`, is refused too, with the setting that is
probably meant; any other unknown variable `FEDBUS_…` is logged. The `fedbus` command warns of both.
A service ignores settings of other services, so several services may share one environment. An
empty value counts as not set.

Flags are `true` or `false`; the items of a list are separated by commas.

## Every service

"""
TABLE = "| setting | value | default | what it is |\n|---|---|---|---|\n"
NAMES_HEAD = '''"""Every FEDBUS_ variable that any part of fedbus reads.

Generated from the services' settings classes by `make docs`; do not edit.
"""

KNOWN: frozenset[str] = frozenset(
    {
'''


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a settings class, as the page shows it."""

    name: str
    value: str
    default: str
    what: str

    def row(self) -> str:
        """Write it as a line of a table."""
        cells = (f"`{PREFIX}{self.name.upper()}`", self.value, self.default, self.what)
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def write() -> str:
    """Make the page."""
    shared = {setting.name: setting for setting in settings_of(ServiceSettings)}
    parts = [HEAD, TABLE, *(setting.row() for setting in shared.values())]
    for service, kind in SERVICES.items():
        own = [s for s in settings_of(kind) if s != shared.get(s.name)]
        parts += [f"\n## Service `{service}`\n\n", TABLE, *(setting.row() for setting in own)]
    parts.append("\n## The `fedbus` command\n\n| setting | what it does |\n|---|---|\n")
    parts += [f"| `{PREFIX}{name.upper()}` | {what} |\n" for name, what in COMMAND.items()]
    parts.append("\n## Elsewhere\n\n| variable | who reads it, and for what |\n|---|---|\n")
    parts += [f"| `{PREFIX}{name}` | {what} |\n" for name, what in OTHERS.items()]
    return "".join(parts)


def write_names() -> str:
    """Make `known_settings.py`."""
    fields = {name for kind in SERVICES.values() for name in kind.model_fields}
    names = sorted({PREFIX + name.upper() for name in fields | set(COMMAND) | set(OTHERS)})
    return NAMES_HEAD + "".join(f'        "{name}",\n' for name in names) + "    }\n)\n"


def settings_of(kind: type[ServiceSettings]) -> Iterator[Setting]:
    """Read the fields of a class, in its order."""
    schema = kind.model_json_schema()
    for name, field in kind.model_fields.items():
        said = schema["properties"][name]
        yield Setting(name, _value(said), _default(field.default), field.description or "")


def _value(said: dict[str, Any]) -> str:
    if "anyOf" in said:
        (said,) = (each for each in said["anyOf"] if each.get("type") != "null")
    if "enum" in said:
        return " or ".join(f"`{word}`" for word in said["enum"])
    kind, form = said["type"], said.get("format", "")
    if kind == "array":
        return f"list of {_value(said['items'])}" if "enum" in said["items"] else "list of words"
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + _range(said)
    text = {"path": "path", "password": "text, secret"}.get(form, "text")
    return {"object": "JSON object", "boolean": "flag"}.get(kind, text)


def _range(said: dict[str, Any]) -> str:
    low, high = said.get("minimum"), said.get("maximum")
    above = said.get("exclusiveMinimum")
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
    return "**needed**" if value is PydanticUndefined else f"`{value}`"
