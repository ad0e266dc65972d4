"""Variables FEDBUS_… of the environment that nothing reads: most are misspelt. Pure.

A shell or a container often holds the settings of several services, so a name that any part of
fedbus reads (`known_settings.py`) is right everywhere.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches

from fedbus.errors import SettingsError
from fedbus.runtime.known_settings import KNOWN

PREFIX = "FEDBUS_"
LIKE_NAME = 0.7
LIKE_PREFIX = 0.8
MEANT = {
    "AGENT_NAME": "NAME",
    "CLUSTER": "BROKER",
    "HOST": "BROKER",
    "ID": "NAME",
    "MQTT": "BROKER",
    "NODE": "NAME",
    "NODE_NAME": "NAME",
    "PASSWORD": "PASSWORD_FILE",
    "TRANSFORMS": "PIPELINE",
    "URL": "BROKER",
    "USER": "BROKER",
}
"""What people of other projects write, which no spelling comes near to."""
_OF_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP|SCTP)(_|$)")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A variable that nothing reads, and the one that is meant, if it can be told."""

    variable: str
    meant: str = ""

    def __str__(self) -> str:
        if self.meant:
            return f"{self.variable} is no setting; did you mean {self.meant}?"
        return f"{self.variable} is no setting; docs/settings.md lists them all"


def unknown_settings(environ: Mapping[str, str]) -> Iterator[Unknown]:
    """Find the variables that look like settings of ours and are none, in the order of names."""
    for variable in sorted(environ):
        if variable in KNOWN or not environ[variable]:
            continue
        if _is_ours(variable) and not _of_kubernetes(variable, environ[variable]):
            yield Unknown(variable, _meant_by(variable))


def refuse_misspelt(
    environ: Mapping[str, str], also: frozenset[str] = frozenset()
) -> list[Unknown]:
    """Refuse what is nearly a setting; return what is like none.

    Args:
        environ: The environment.
        also: More variables that are known, as a service's own that is newer than the list.

    Raises:
        SettingsError: names every misspelt variable and the one that is meant.
    """
    found = [one for one in unknown_settings(environ) if one.variable not in also]
    if misspelt := [one for one in found if one.meant]:
        raise SettingsError("; ".join(map(str, misspelt)))
    return found


def _is_ours(variable: str) -> bool:
    if variable.upper().startswith(PREFIX):
        return True
    # FEBDUS_NAME: the rest is a setting's name, the prefix nearly ours.
    head, under, rest = variable.upper().partition("_")
    like = SequenceMatcher(None, head, PREFIX[:-1]).ratio()
    return bool(under) and PREFIX + rest in KNOWN and like >= LIKE_PREFIX


def _meant_by(variable: str) -> str:
    name = variable.upper().partition("_")[2]
    if PREFIX + name in KNOWN:
        return PREFIX + name
    if name in MEANT:
        return PREFIX + MEANT[name]
    names = sorted(each.removeprefix(PREFIX) for each in KNOWN)
    close = [each for each in names if each.startswith(f"{name}_")]  # HEARTBEAT of _SECONDS
    close += get_close_matches(name, names, n=1, cutoff=LIKE_NAME)
    return PREFIX + close[0] if close else ""


def _of_kubernetes(variable: str, value: str) -> bool:
    """Kubernetes sets FEDBUS_BROKER_SERVICE_HOST and more, where a service is so called."""
    return bool(_OF_KUBERNETES.search(variable)) or bool(
        variable.endswith("PORT") and re.match(r"(tcp|udp|sctp)://", value)
    )
