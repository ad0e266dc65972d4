"""Tags and aliases stay what was answered, and keep weights, whatever else a store is asked."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from fedbus.wire.messages import ListNameChanges, PromoteVersion, RollBackAlias, TagVersion
from fedbus_repository.stores.records import ModelView, StoreRefusal, Version
from fedbus_repository.stores.trail_answers import NameChangePage, NamedVersions
from tests.repository.harness import AGENTS, MODEL, USER
from tests.repository.stores.test_store_machine import StoreMachine

ALIASES = st.sampled_from(("production", "production", "canary"))
TAGS = st.sampled_from(("paper", "talk"))
BACK = st.integers(-1, 6)
"""How far before the latest version; -1 does not exist, nor what is before the first one."""


class NameMachine(StoreMachine):
    """A job whose versions get names; each alias is a stack of versions here."""

    # Rules that change no name and delete no weights would only leave fewer steps for the others.
    commit = evaluate = look_up = accept_again = store_configuration = None  # type: ignore[assignment]
    a_restart_leaves_no_blob_that_nothing_names = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.stacks: dict[str, list[int]] = {"production": [], "canary": []}
        self.alive: set[str] = set()  # aliases that are not removed
        self.tags: dict[str, int] = {}
        self.held: set[int] = set()

    @rule(rounds=st.integers(2, 5))
    def train(self, rounds: int) -> None:
        """Commit some rounds, so that older versions lose their weights."""
        for _ in range(rounds):
            before = len(self.plans)
            self.plan(1)
            if len(self.plans) > before:
                self.commit_updates(self.plans[-1], list(AGENTS[:2]))

    @rule(alias=ALIASES, back=BACK, expected=st.sampled_from((None, None, None, 0, 3)))
    def promote(self, alias: str, back: int, expected: int | None) -> None:
        """Promote a version that may not exist, have no weights, or be promoted already."""
        version = max(0, self.latest() - back)
        request = PromoteVersion(model=MODEL, alias=alias, version=version, expected=expected)
        now = self.stacks[alias][-1] if alias in self.alive else 0
        found = self.version(version)
        answer = self.tried(lambda: self.store.promote(request, USER))
        if isinstance(answer, NamedVersions):
            assert found is not None
            assert found.kept
            assert expected is None or now in {expected, version}
            if now != version:
                self.stacks[alias].append(version)
            self.alive.add(alias)
        elif isinstance(answer, StoreRefusal):
            assert found is None or not found.kept or expected not in {None, now}

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), times=st.integers(1, 3), or_remove=st.booleans())
    def roll_back(self, data: st.DataObject, times: int, *, or_remove: bool) -> None:
        """Return to the version before, if there is one with weights."""
        alias = data.draw(st.sampled_from(sorted(self.alive)))
        for _ in range(times):
            if alias in self.alive:
                self.roll_back_once(alias, or_remove=or_remove)

    def roll_back_once(self, alias: str, *, or_remove: bool) -> None:
        stack = self.stacks[alias]
        request = RollBackAlias(model=MODEL, alias=alias, expected=stack[-1], or_remove=or_remove)
        before = self.version(stack[-2]) if len(stack) > 1 else None
        served = stack[:-1]  # up to the nearest version that can be served
        while served and (served[-1] == stack[-1] or not self.is_kept(served[-1])):
            served.pop()
        answer = self.tried(lambda: self.store.roll_back(request, USER))
        if isinstance(answer, NamedVersions) and or_remove:
            stack[:] = served
            if not served:
                self.alive.remove(alias)
        elif isinstance(answer, NamedVersions):
            assert before is not None
            assert before.kept
            stack.pop()
        elif isinstance(answer, StoreRefusal):
            assert before is None or not before.kept

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Remove an alias; its stack stays for the next promotion."""
        alias = data.draw(st.sampled_from(sorted(self.alive)))
        request = PromoteVersion(model=MODEL, alias=alias, version=None)
        if isinstance(self.tried(lambda: self.store.promote(request, USER)), NamedVersions):
            self.alive.remove(alias)

    @rule(tag=TAGS, back=st.none() | BACK)
    def tag(self, tag: str, back: int | None) -> None:
        """Tag a version that may not exist, or have no weights, or remove the tag."""
        version = None if back is None else max(0, self.latest() - back)
        found = None if version is None else self.version(version)
        answer = self.tried(
            lambda: self.store.tag(TagVersion(model=MODEL, version=version, tag=tag), USER)
        )
        if isinstance(answer, NamedVersions) and version is not None:
            assert found is not None
            assert found.kept
            self.tags[tag] = version
        elif isinstance(answer, NamedVersions):
            self.tags.pop(tag, None)

    def latest(self) -> int:
        found = self.store.show(MODEL, None, 1)
        assert isinstance(found, ModelView)
        return found.versions

    def version(self, number: int) -> Version | None:
        found = self.store.show(MODEL, number, 1)
        return found.version if isinstance(found, ModelView) else None

    def is_kept(self, number: int) -> bool:
        found = self.version(number)
        return found is not None and found.kept

    @invariant()
    def names_are_what_was_answered(self) -> None:
        """And the history has each change once."""
        named = self.store.named_versions().get(MODEL)
        expected = {alias: self.stacks[alias][-1] for alias in self.alive}
        if isinstance(named, NamedVersions):
            assert (named.names.aliases, named.names.tags) == (expected, self.tags)
        else:
            assert (named, expected, self.tags) == (None, {}, {})
        page = self.store.name_changes(ListNameChanges(model=MODEL, limit=1_000))
        assert isinstance(page, NameChangePage)
        numbers = [each.number for each in page.changes]
        assert numbers == list(range(len(numbers), 0, -1))

    @invariant()
    def weights_of_named_versions_stay(self) -> None:
        """Of those that an alias names, of tagged ones, and of the next roll-backs, once held."""
        tops = {self.stacks[alias][-1] for alias in self.alive}
        window = {number for alias in self.alive for number in self.stacks[alias][-4:]}
        found = {number: self.version(number) for number in {*window, *self.tags.values()}}
        held = {
            number
            for number, each in found.items()
            if each is not None and each.kept and self.store.holds(each.weights)
        }
        assert tops <= held
        assert self.held & found.keys() <= held
        self.held = held


NameMachine.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestNameMachine = NameMachine.TestCase
