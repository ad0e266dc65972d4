"""Parts that the servers of all models and versions of a process share. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

from fedbus_inference.last_good import LastGood
from fedbus_inference.loading import Runtime
from fedbus_inference.recent_replies import RecentReplies
from fedbus_inference.serving_stats import ServingStats
from fedbus_inference.settings import InferenceSettings

Clock: TypeAlias = Callable[[], float]
"""Measures durations, in seconds."""


@dataclass(frozen=True, slots=True)
class ServingContext:
    """Frameworks, settings, counts, files and clock.

    Attributes:
        run_numbers: Numbers of batches and of attempts to load a version, each given once: a slot
            may be closed while a thread computes or loads for it, and opened again.
    """

    runtime: Runtime
    settings: InferenceSettings
    last_good: LastGood
    clock: Clock
    stats: ServingStats = field(default_factory=ServingStats)
    recent: RecentReplies = field(default_factory=RecentReplies)
    run_numbers: Iterator[int] = field(default_factory=count)
