"""Messages of a round of several steps: what a collector asks of an agent, and its reply."""

from dataclasses import dataclass

from fedbus.scalars import Ident, Raw, RoundNumber, Text
from fedbus.wire.identifiers import TaskNumber
from fedbus.wire.secure_aggregation import StepName


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Do this step of a masked round, and reply; repeated until the reply arrives.

    `content` is the step's request, in msgpack: a class of `fedbus.wire.step_contents`.
    An agent answers a step of a task once; asked again with the same content it repeats its answer,
    and asked with another content it refuses.
    """

    job: Ident
    round: RoundNumber
    task: TaskNumber
    step: StepName
    content: Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReply:
    """The answer to a step, or the `reason` why the agent leaves the round; then it is empty."""

    job: Ident
    round: RoundNumber
    task: TaskNumber
    step: StepName
    content: Raw = b""
    reason: Text = ""
