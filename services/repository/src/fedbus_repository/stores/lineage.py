"""Tree of a model's versions: ancestors, descendants and leaves. Pure.

Nearly every version continues the one before it. So the tree of a model is a list of *branches*:
runs of neighbouring numbers, each of which begins at a version that was pushed (a root) or was made
from an older version (a fork). A page of relatives is computed from the branches alone, and takes
no longer with 100,000 versions than with 100.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True, slots=True)
class Branch:
    """A run of versions, each of which continues the one before.

    `first` is its first version, and `base` the older version that this one was made from; None: it
    is a root. The run ends before the next branch begins.
    """

    first: int
    base: int | None


class Lineage:
    """The tree of a model's versions, from its branches in ascending order and its latest version.

    The first branch begins at the first version.
    """

    def __init__(self, branches: Sequence[Branch], latest: int) -> None:
        self._branches = branches
        self._firsts = [each.first for each in branches]
        self._latest = latest

    def ancestors(self, version: int, limit: int, after: int | None = None) -> list[int]:
        """Return versions that one descends from, nearest first, those after the ancestor `after`.

        An `after` that is no ancestor has none after it.
        """
        runs: Iterator[range] = self._runs_above(version)
        if after is not None:
            runs = _after(runs, after)
        return list(islice((number for run in runs for number in run), limit))

    def descendants(self, version: int, limit: int, after: int | None = None) -> list[int]:
        """Return versions that descend from one, in ascending order, those above `after`."""
        beginning = version if after is None else max(version, after)
        numbers = (
            number
            for run in self._runs_below(version)
            for number in range(max(run.start, beginning + 1), run.stop)
        )
        return list(islice(numbers, limit))

    def leaves(self, version: int | None, limit: int, after: int | None = None) -> list[int]:
        """Return versions that no version descends from, in ascending order, those above `after`.

        With a version, only its descendants.
        """
        runs = self._all_runs() if version is None else self._runs_below(version)
        bases = {each.base for each in self._branches}
        tips = (run.stop - 1 for run in runs if run.stop - 1 not in bases)
        return list(islice((tip for tip in tips if tip > (after or 0)), limit))

    def _all_runs(self) -> Iterator[range]:
        return map(self._run_of, range(len(self._branches)))

    def _run_of(self, at: int) -> range:
        last = at + 1 == len(self._branches)
        return range(self._firsts[at], self._latest + 1 if last else self._firsts[at + 1])

    def _runs_above(self, version: int) -> Iterator[range]:
        """Yield the ancestors of a version as descending runs."""
        below: int | None = version
        number = version - 1
        while below is not None:
            branch = self._branches[bisect_right(self._firsts, below) - 1]
            yield range(number, branch.first - 1, -1)
            below = branch.base
            number = below or 0

    def _runs_below(self, version: int) -> Iterator[range]:
        """Yield the descendants of a version as ascending runs."""
        at = bisect_right(self._firsts, version) - 1
        found = [range(version, self._run_of(at).stop)]  # with the version itself
        if len(found[0]) > 1:
            yield found[0][1:]
        firsts = [version]
        for later in range(at + 1, len(self._branches)):
            base = self._branches[later].base
            if base is None or base < version:
                continue
            if base in found[bisect_right(firsts, base) - 1]:
                found.append(self._run_of(later))
                firsts.append(self._firsts[later])
                yield found[-1]


def _after(runs: Iterable[range], number: int) -> Iterator[range]:
    """Yield what of descending runs comes after a number in them."""
    found = False
    for run in runs:
        if found:
            yield run
        elif number in run:
            found = True
            yield range(number - 1, run.stop, -1)
