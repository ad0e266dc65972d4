"""A model's trail, as people see it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fedbus.cli.output.model_history import print_history
from fedbus.client import stored_models
from fedbus.client.address import BrokerLogin
from fedbus.client.connection import ClientConnection
from fedbus.client.failures import Refused
from fedbus.client.kept_versions import check_kept, kept_line
from fedbus.client.stored_models import show
from fedbus.mqtt.bus import BrokerAddress
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import BlobRef, EncryptedVersion, ModelRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import KeptVersion, ModelShown, ShowModel, VersionFacts
from fedbus.wire.messages.model_requests import Derivation
from fedbus.wire.round_records import Contributor, Refusal, RoundRecord
from fedbus.wire.strategies import Strategy, StrategyState, TrainingFacts
from fedbus.wire.version_choice import VersionChoice
from tests.fedbus.cli.output.spent_privacy import spent

HERE = BrokerLogin(BrokerAddress("h"), "user.cli")
BLOB = BlobRef(digest="a" * 64, size=10)
SPEC = ModelSpec(
    model="m", layout=(), architectures={}, input={"shape": [64]}, answers="probabilities"
)
LATEST = 242
KEPT = (
    KeptVersion(version=242, why="newest"),
    KeptVersion(version=241, why="newest"),
    KeptVersion(version=239, why="newest"),
    KeptVersion(version=217, why="best"),
    KeptVersion(version=1, why="pushed"),
)


def facts(version: int) -> VersionFacts:
    """One version: the first was pushed, all others are rounds of a job."""
    return VersionFacts(
        version=version,
        parent=version - 1 if version > 1 else None,
        weights=BLOB,
        job="j" if version > 1 else None,
        round=version - 1,
        contributors=3,
        metrics={"accuracy": 0.5},
        kept=version in {each.version for each in KEPT},
        at="2026-11-29T08:53:28.120Z",
        base=version - 1 if version > 1 else None,
    )


def shown(version: int = LATEST, newest: int = LATEST, count: int = 200) -> ModelShown:
    """What a repository says of a version, and of the trail from `newest` down."""
    ref = ModelRef(model="m", version=version, weights=BLOB, spec=BLOB, source="repository.1")
    oldest = max(0, newest - count)
    return ModelShown(
        version=ref,
        history=tuple(facts(number) for number in range(newest, oldest, -1)),
        versions=LATEST,
        kept=KEPT,
        best=217,
    )


def fetched(
    monkeypatch: pytest.MonkeyPatch, version: int | None, limit: int | None
) -> tuple[ModelShown, int]:
    """Fetch from a repository that tells 100 versions at once; how often it was asked."""
    asked: list[ShowModel] = []

    async def run(_where: object, core: Any) -> ModelShown:  # noqa: ANN401 - for any answer
        (ask,) = core.begin()
        message = ask.message
        asked.append(message)
        newest = LATEST if message.before is None else message.before - 1
        return shown(message.version or LATEST, min(newest, LATEST), 100)

    monkeypatch.setattr(stored_models, "run", run)
    found = asyncio.run(
        show(ClientConnection(HERE), VersionChoice(model="m", version=version), limit)
    )
    return found, len(asked)


@pytest.mark.parametrize(
    ("version", "limit", "newest", "oldest", "asked"),
    [
        (None, 20, 242, 223, 1),
        (None, 150, 242, 93, 2),
        (None, None, 242, 1, 3),
        (100, 20, 100, 81, 1),
        (5, 20, 5, 1, 1),
    ],
)
def test_as_much_of_a_trail_is_fetched_as_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
    version: int | None,
    limit: int | None,
    newest: int,
    oldest: int,
    asked: int,
) -> None:
    """One answer holds a part of it; an old version is shown with those before it."""
    found, count = fetched(monkeypatch, version, limit)
    versions = [each.version for each in found.history]
    assert versions == list(range(newest, oldest - 1, -1))
    assert count == asked


def printed(call: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Split what a call prints into lines."""
    call()
    return capsys.readouterr().out.splitlines()


def test_what_is_left_off_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """The newest stands last, beside the prompt; the best is marked."""
    lines = printed(lambda: print_history(shown(count=30), SPEC), capsys)
    assert lines[0].startswith("30 of 242 versions; 1 to 212 are hidden: --limit N shows")
    assert [line.split("\t")[0] for line in (lines[2], lines[31])] == ["213", "242"]
    (best,) = [line for line in lines if "kept, best" in line]
    assert best.startswith("217\t216\tj\t216\t3\t")
    assert lines[-1] == "kept     239, 241-242 (newest); 217 (best); 1 (pushed)"
    assert "made     2026-11-29 08:53:28 UTC" in lines
    assert "answers  probabilities" in lines


def test_encrypted_versions_name_their_key_and_anchor(capsys: pytest.CaptureFixture[str]) -> None:
    """A released one says what it was made of, and who did it."""
    encryption = EncryptedVersion(
        scheme="bfv", key="1a" * 32, parameters="c" * 64, anchor=1, anchor_weights=BLOB
    )
    whole = shown(4, 4)
    released, source, *rest = whole.history
    derived = Derivation(kind="release", version=3, by="ana (user.cli)")
    history = (
        replace(released, job=None, derived=derived),
        replace(source, encryption=encryption),
        *rest,
    )
    kept = (KeptVersion(version=4, why="pushed"), KeptVersion(version=1, why="anchor"))
    encrypted = replace(whole, history=history, kept=kept)
    lines = printed(lambda: print_history(encrypted, SPEC), capsys)
    assert lines[0].endswith("METRICS\tENCRYPTED")
    assert lines[1].startswith("1\t\tpushed\t\t\t")
    assert "\tkept, anchor\t" not in lines[2]
    assert lines[3].endswith("\tbfv, key 1a1a1a1a1a1a, distances from version 1")
    assert lines[4].startswith("4\t3\treleased from 3\t\t")
    assert "derived  released from 3 by ana (user.cli)" in lines
    assert lines[-1] == "kept     4 (pushed); 1 (anchor)"
    ref = replace(whole.version, version=3, encryption=encryption)
    lines = printed(lambda: print_history(replace(encrypted, version=ref), SPEC), capsys)
    assert "         encrypted with bfv, key 1a1a1a1a1a1a, distances from version 1" in lines
    assert not [line for line in lines if line.startswith("derived")]


def test_versions_of_private_jobs_have_an_epsilon(capsys: pytest.CaptureFixture[str]) -> None:
    """That of the model, with all jobs before; agents are neither counted nor shown."""
    whole = shown(3, 3)
    private = replace(whole.history[0], privacy=spent(), contributors=0)
    record = RoundRecord(
        job="j",
        round=2,
        task=2,
        model="m",
        parent=2,
        spec=BLOB,
        strategy=Strategy(id="fedavg", aggregator=PluginChoice(id="mean")),
        contributors=(),
        refusals=(),
        metrics={},
        seconds={},
        privacy=spent(),
    )
    answer = replace(whole, history=(private, *whole.history[1:]), record=record)
    lines = printed(lambda: print_history(answer, SPEC, contributors=True), capsys)
    assert lines[0].endswith("\tMETRICS\tEPSILON")
    assert lines[1].endswith("\taccuracy 50.0 %\t")
    assert lines[2].split("\t")[4] == "3"
    assert lines[3].split("\t")[4] == ""
    assert lines[3].endswith("\taccuracy 50.0 %\t5.1")
    assert (
        "privacy  ε 5.1, δ 2e-05 with all jobs before; `fedbus privacy show m` explains it" in lines
    )
    assert lines[-1] == (
        "round 2 of job j: its agents are not shown, since the job has a privacy mechanism"
    )


def test_a_whole_trail_leaves_nothing_off(capsys: pytest.CaptureFixture[str]) -> None:
    """And the one of an old version says that there are newer ones."""
    lines = printed(lambda: print_history(shown(3, 3), SPEC), capsys)
    assert lines[0].startswith("VERSION\t")
    assert lines[1].split("\t")[2:5] == ["pushed", "", ""]
    assert "kept, pushed" in lines[1]
    assert "versions 4 to 242 are newer" in lines


def test_a_large_record_leaves_the_history_to_the_next_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first answer may hold no version at all."""
    asked: list[ShowModel] = []

    async def run(_where: object, core: Any) -> ModelShown:  # noqa: ANN401 - for any answer
        (ask,) = core.begin()
        asked.append(ask.message)
        newest = LATEST if ask.message.before is None else ask.message.before - 1
        return shown(LATEST, newest, 0 if ask.message.record else 100)

    monkeypatch.setattr(stored_models, "run", run)
    found = asyncio.run(show(ClientConnection(HERE), VersionChoice(model="m"), 20, record=True))
    assert [each.version for each in found.history] == list(range(242, 222, -1))
    assert [(each.before, each.record) for each in asked] == [(None, True), (243, False)]


MEAN = Strategy(id="fedavg", aggregator=PluginChoice(id="mean", parameters={"weighted": True}))
MEDIAN = Strategy(id="fedmedian", aggregator=PluginChoice(id="median"))
RECORD = RoundRecord(
    job="j",
    round=2,
    task=2,
    model="m",
    parent=2,
    spec=BLOB,
    strategy=Strategy(id="fednova", aggregator=PluginChoice(id="fednova"), facts=("steps",)),
    contributors=(
        Contributor(
            agent="agent.a",
            task=2,
            examples=10,
            update="a" * 64,
            metrics={},
            facts=TrainingFacts(steps=7),
            coefficient=1.25,
        ),
    ),
    refusals=(Refusal(agent="agent.b", reason="no update by the deadline"),),
    metrics={},
    seconds={},
    base_coefficient=0.5,
)


def test_each_strategy_is_shown_once_with_its_versions(capsys: pytest.CaptureFixture[str]) -> None:
    """With all its parameters; most models have one."""
    history = shown(5, 5).history
    by_version = {5: MEDIAN, 4: MEAN, 3: MEDIAN, 2: MEDIAN, 1: None}
    history = tuple(replace(each, strategy=by_version[each.version]) for each in history)
    lines = printed(lambda: print_history(replace(shown(5), history=history), SPEC), capsys)
    assert lines[-2:] == [
        "strategy fedmedian: median; versions 2-3, 5",
        "strategy fedavg: mean(weighted=True); version 4",
    ]


def test_the_numbers_that_a_strategy_keeps_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """The clipping norms of dp-adaptive are public, and nowhere else to be seen."""
    kept = StrategyState(rounds=2, numbers={"clipping_norm": 0.7314159, "used_clipping_norm": 1.0})
    report = replace(shown(3, 3), record=replace(RECORD, state=kept))
    lines = printed(lambda: print_history(report, SPEC), capsys)
    assert lines[-1] == "state    clipping_norm 0.731416, used_clipping_norm 1"
    report = replace(report, record=replace(RECORD, state=StrategyState(rounds=2)))
    lines = printed(lambda: print_history(report, SPEC), capsys)
    assert not any(line.startswith("state") for line in lines)


def test_the_contributors_of_a_version_are_shown_with_their_coefficients(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And the facts that its strategy weighed them by, and who is not in it."""
    report = replace(shown(3, 3), record=RECORD)
    lines = printed(lambda: print_history(report, SPEC, contributors=True), capsys)
    assert lines[-5:] == [
        "round 2 of job j:",
        "AGENT\tEXAMPLES\tCOEFFICIENT\tSTEPS",
        "agent.a\t10\t1.25\t7",
        "the base has the coefficient 0.5",
        "not in it: agent.b: no update by the deadline",
    ]
    counted = (replace(RECORD.contributors[0], coefficient=None),)
    median = replace(
        RECORD, strategy=MEDIAN, contributors=counted, refusals=(), base_coefficient=1.0
    )
    report = replace(shown(3, 3), record=median)
    lines = printed(lambda: print_history(report, SPEC, contributors=True), capsys)
    assert lines[-2:] == [
        "agent.a\t10\t",
        "the aggregator combines updates number by number, without coefficients",
    ]
    assert "round 2 of job j:" not in printed(lambda: print_history(report, SPEC), capsys)


def test_deleted_weights_are_refused_with_those_that_are_kept() -> None:
    """`does not hold f0e2…` gave neither a reason nor an action."""
    check_kept(shown(217))
    with pytest.raises(Refused) as refused:
        check_kept(shown(100))
    assert str(refused.value) == (
        "the weights of m version 100 are deleted: the newest versions keep theirs, the best one, "
        "those with a tag or an alias, and those that were pushed. Kept: 239, 241-242 (newest); "
        "217 (best); 1 (pushed)"
    )


def test_neighbours_are_written_together() -> None:
    """A hundred pushed versions are one span."""
    assert kept_line(()) == "none"
    many = [KeptVersion(version=number, why="pushed") for number in (9, 3, 2, 1)]
    assert kept_line(many) == "1-3, 9 (pushed)"
