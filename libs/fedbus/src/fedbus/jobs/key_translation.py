"""Translation of a job file with keys of other systems into the keys of this job file. Pure."""

from dataclasses import dataclass, field
from typing import Any

from fedbus.jobs.field_types import number_of
from fedbus.wire.documents import JobFault
from fedbus.wire.job_faults import show
from fedbus.wire.json_reader import InvalidValue, path_of


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """What a foreign key becomes: the key here, and how; a key that is only refused has no `to`."""

    to: str = ""
    note: str = ""


@dataclass(slots=True)
class Translation:
    """A job file in the keys of this job file.

    Attributes:
        tree: The file; foreign keys are replaced.
        origins: The key as it was written, by the key here.
        faults: Foreign keys that cannot be read, under the keys as written.
    """

    tree: dict[str, Any]
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[JobFault] = field(default_factory=list)

    def written(self, key: str) -> str:
        """Return the key that a fault names, as the file has it."""
        for here, origin in sorted(self.origins.items(), key=lambda pair: -len(pair[0])):
            if key == here or key.startswith((f"{here}.", f"{here}[")):
                return origin + key[len(here) :]
        return key

    def set(self, place: tuple[str, ...], value: object, origin: str) -> None:
        """Set a key here, unless the file has it too: then both values must be equal."""
        part, key = self.tree, path_of(place)
        for name in place[:-1]:
            below = {} if part.get(name) is None else part[name]
            if name == "strategy" and isinstance(below, str):
                below = {"id": below}
            if not isinstance(below, dict):
                return  # the schema refuses it
            part[name] = dict(below)
            part = part[name]
        if part.get(place[-1]) is None:
            part[place[-1]] = value
            self.origins[key] = origin
        elif not are_equal(part[place[-1]], value):
            other = self.origins.get(key, key)
            self.refuse(origin, f"{show(value)}, but {other} says {show(part[place[-1]])}")

    def refuse(self, key: str, problem: str, hint: str = "give one of them") -> None:
        """Add a fault."""
        self.faults.append(JobFault(key=key, problem=problem, hint=hint))


def take_object(done: Translation, name: str) -> dict[str, object]:
    """Take an object with foreign keys out of the file; null equals leaving out, here too."""
    found = done.tree.pop(name, None)
    if found is None or isinstance(found, InvalidValue):
        return {}
    if not isinstance(found, dict):
        done.refuse(name, f"expected an object, got {show(found)}", "")
        return {}
    return {
        word: value
        for word, value in found.items()
        if value is not None and not isinstance(value, InvalidValue)
    }


def are_equal(one: object, other: object) -> bool:
    """Return whether two values of a job file mean the same: numbers may be text."""
    numbers = number_of(one), number_of(other)
    return numbers[0] == numbers[1] if None not in numbers else one == other
