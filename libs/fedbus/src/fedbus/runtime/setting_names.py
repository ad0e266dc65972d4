"""Names of settings: unknown, misspelt and renamed FEDBUS_ variables of the environment. Pure.

A shell or a container often holds the settings of several services, so a name that any part of
fedbus reads (`known_settings.py`) is accepted everywhere.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fedbus.errors import SettingsError
from fedbus.runtime.known_settings import KNOWN

PREFIX: Final = "FEDBUS_"
MIN_NAME_SIMILARITY: Final = 0.7
MIN_PREFIX_SIMILARITY: Final = 0.8
RENAMED: Final[Mapping[str, str]] = {
    "MAX_NUMBERS": "MAX_INPUT_ELEMENTS",
    "MAX_WAITING": "MAX_QUEUED_REQUESTS",
    "PATIENCE_SECONDS": "REQUEST_TIMEOUT_SECONDS",
    "PLACES": "SLOTS",
}
"""Earlier names of settings, each with the present one; an earlier name is refused."""
SYNONYMS: Final[Mapping[str, str]] = {
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
"""Names that other projects use, and that are not spelled like the setting that is meant."""
_OF_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP|SCTP)(_|$)")


@dataclass(frozen=True, slots=True)
class UnknownSetting:
    """A variable that fedbus does not read, and the setting that is probably meant, if any."""

    variable: str
    meant: str = ""
    renamed: bool = False

    def __str__(self) -> str:
        """Format as a sentence that names the variable to set instead."""
        if self.renamed:
            return f"{self.variable} is now {self.meant}"
        if self.meant:
            return f"{self.variable} is not a setting; did you mean {self.meant}?"
        return f"{self.variable} is not a setting; docs/settings.md lists them all"


def unknown_settings(environ: Mapping[str, str]) -> Iterator[UnknownSetting]:
    """Yield the variables that look like settings but are none, sorted by name."""
    for variable in sorted(environ):
        if variable in KNOWN or not environ[variable]:
            continue
        name = variable.upper().partition("_")[2]
        if variable.startswith(PREFIX) and name in RENAMED:
            yield UnknownSetting(variable, PREFIX + RENAMED[name], renamed=True)
        elif _looks_like_a_setting(variable) and not _of_kubernetes(variable, environ[variable]):
            yield UnknownSetting(variable, _nearest_setting(name))


def refuse_misspelt(
    environ: Mapping[str, str], also: frozenset[str] = frozenset()
) -> list[UnknownSetting]:
    """Reject misspelt and renamed settings; return the other unknown ones, to be logged.

    Args:
        also: Further known variables, such as a service's own that are newer than the list.

    Raises:
        SettingsError: names every misspelt or renamed variable and the one to set instead.
    """
    found = [unknown for unknown in unknown_settings(environ) if unknown.variable not in also]
    if misspelt := [unknown for unknown in found if unknown.meant]:
        raise SettingsError("; ".join(map(str, misspelt)))
    return found


def _looks_like_a_setting(variable: str) -> bool:
    if variable.upper().startswith(PREFIX):
        return True
    # FEBDUS_NAME: a setting's name behind a misspelt prefix.
    head, underscore, rest = variable.upper().partition("_")
    if not underscore or PREFIX + rest not in KNOWN:
        return False
    return difflib.SequenceMatcher(None, head, PREFIX[:-1]).ratio() >= MIN_PREFIX_SIMILARITY


def _nearest_setting(name: str) -> str:
    if PREFIX + name in KNOWN:
        return PREFIX + name
    if name in SYNONYMS:
        return PREFIX + SYNONYMS[name]
    names = sorted(known.removeprefix(PREFIX) for known in KNOWN)
    close = [known for known in names if known.startswith(f"{name}_")]  # HEARTBEAT of _SECONDS
    close += difflib.get_close_matches(name, names, n=1, cutoff=MIN_NAME_SIMILARITY)
    return PREFIX + close[0] if close else ""


def _of_kubernetes(variable: str, value: str) -> bool:
    """Return whether Kubernetes sets the variable: it does for a Service named fedbus-broker."""
    return bool(_OF_KUBERNETES.search(variable)) or bool(
        variable.endswith("PORT") and re.match(r"(tcp|udp|sctp)://", value)
    )
