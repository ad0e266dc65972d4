"""One part of a strategy: its factory, the parameters that reach it, and what it makes of them.

Every fault is a fault of the job file, with the key where the value was written.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fedbus.errors import PluginError
from fedbus.jobs import JobFault
from fedbus.plugins.isolation import CallTimeoutError
from fedbus.strategies.factory_parameters import ANY_NAME, FactoryParameters, parameters_of
from fedbus.strategies.part_factories import PartGroup, load_plugin, read_part
from fedbus.strategies.strategy_names import installed_name, other_kind
from fedbus.text import in_given_order, nearest
from fedbus.training.params import Argument, PluginChoice

WHOLE: Final = "strategy"
"""Key of the strategy, and so of the parts that its preset chooses."""


class StrategyError(PluginError):
    """A job's strategy cannot be used; `faults` has the reasons, with the keys of the job file.

    `timed_out`: a part exceeded the time limit, so it may be usable later.
    """

    def __init__(self, faults: Iterable[JobFault], *, timed_out: bool = False) -> None:
        self.faults, self.timed_out = tuple(faults), timed_out
        super().__init__("; ".join(map(str, self.faults)))


@dataclass(frozen=True, slots=True)
class GivenParameter:
    """A parameter as a job gives it, and the key in the job file."""

    key: str
    value: Argument


Given = Mapping[str, GivenParameter]


@dataclass(slots=True)
class StrategyPart:
    """A part before it is made.

    Attributes:
        key: Where the job file chooses it: `strategy.aggregator`, or `strategy` for a preset's.
        own: The parameters that only this part gets.
        parameters_key: Where the job file gives those.
        factory: None if it is not installed or allowed here, which is a fault.
        faults: What is wrong with the choice and its parameters.
        attributes: The optional attributes of what the factory makes; None if it has faults.
        values: All parameters, defaults included.
        timed_out: Its import or its factory exceeded the time limit.
    """

    group: PartGroup
    id: str
    key: str
    own: Given
    parameters_key: str
    factory: Callable[..., object] | None = None
    takes: FactoryParameters = ANY_NAME
    faults: list[JobFault] = field(default_factory=list)
    attributes: Mapping[str, Any] | None = None
    values: dict[str, Argument] = field(default_factory=dict)
    timed_out: bool = False

    @property
    def choice(self) -> PluginChoice:
        """The part as records name it."""
        return PluginChoice(id=self.id, parameters=self.values)

    @property
    def of_training(self) -> tuple[str, ...]:
        """The parameters that describe the agents' training, as the factory names them."""
        return tuple(getattr(self.factory, "of_training", ()))

    def names(self, attribute: str) -> tuple[Any, ...]:
        """Return an optional attribute of the made part that lists names."""
        return tuple((self.attributes or {}).get(attribute, ()))

    def make(
        self, given: Given, of_training: Mapping[str, Argument], allowed: Collection[str] | None
    ) -> None:
        """Make the part with its own parameters and those `given` to the strategy."""
        if self.key != WHOLE:
            self.faults.extend(_given_twice(self.own, given))
        given = {**self.own, **given}
        if self.factory is None:
            self.values = {name: each.value for name, each in given.items()}
            return
        self.values = self.takes.defaults
        self.values |= {
            name: value for name, value in of_training.items() if name in self.of_training
        }
        self.faults.extend(self._read(given))
        if not self.faults:
            self._call(given, allowed)

    def _read(self, given: Given) -> Iterator[JobFault]:
        for name, each in given.items():
            if not self.takes.takes(name):
                yield JobFault(key=each.key, problem="unknown parameter", hint=self._meant(name))
            elif name not in self.takes.named:
                self.values[name] = each.value
            else:
                try:
                    self.values[name] = self.takes.named[name].read(each.value)
                except ValueError as error:
                    yield JobFault(key=each.key, problem=str(error))
        for name, parameter in self.takes.named.items():
            if parameter.required and name not in given:
                hint = f"{self.id} needs it: {parameter.expected}"
                key = f"{self.parameters_key}.{name}"
                yield JobFault(key=key, problem="missing", hint=hint)

    def _meant(self, name: str) -> str:
        near = nearest(name, self.takes.named)
        meant = f"did you mean '{near}'? " if near else ""
        return f"{meant}{self.id} takes {in_given_order(self.takes.named) or 'none'}"

    def _call(self, given: Given, allowed: Collection[str] | None) -> None:
        """Call the factory; on an error about a given parameter, again with its default.

        So that the faults of several parameters are found at once.
        """
        assert self.factory is not None  # noqa: S101 - `make` has returned
        left = dict(self.values)
        while True:
            try:
                found = read_part(self.group, self.id, self.factory, left, allowed)
            except PluginError as error:
                self.timed_out = isinstance(error, CallTimeoutError)
                name = next((n for n in left if str(error).startswith(f"{n}:")), None)
                self.faults.append(self._refusal(name, str(error), given))
                if name is None or name not in given:
                    return
                default = self.takes.defaults.get(name)
                if default is None or default == left[name]:
                    return
                left[name] = default
            else:
                self.attributes = None if self.faults else found
                return

    def _refusal(self, name: str | None, problem: str, given: Given) -> JobFault:
        if name is None or name not in given:
            return JobFault(key=self.key, problem=f"{self.group} plug-in {self.id!r}: {problem}")
        return JobFault(key=given[name].key, problem=problem.removeprefix(f"{name}:").strip())


def load_part(
    group: PartGroup,
    choice: PluginChoice,
    key: str,
    allowed: Collection[str] | None,
    parameters_key: str | None = None,
) -> StrategyPart:
    """Load the factory of a part, and read which parameters it takes.

    `parameters_key` is the object of its parameters in the job file, `key`.parameters if left out.
    """
    below = f"{key}.parameters" if parameters_key is None else parameters_key
    own = {
        name: GivenParameter(WHOLE if key == WHOLE else f"{below}.{name}", value)
        for name, value in choice.parameters.items()
    }
    part = StrategyPart(group, installed_name(group, choice.id), key, own, below)
    try:
        part.factory = load_plugin(group, part.id, allowed)
    except PluginError as error:
        part.timed_out = isinstance(error, CallTimeoutError)
        part.faults.append(JobFault(key=key, problem=str(error), hint=other_kind(group, choice.id)))
        return part
    part.takes = parameters_of(part.factory)
    return part


def _given_twice(own: Given, given: Given) -> Iterator[JobFault]:
    for name, each in given.items():
        if name in own:
            hint = "give it once"
            yield JobFault(key=each.key, problem=f"{own[name].key} is the same one", hint=hint)
