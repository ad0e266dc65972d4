"""Agents that can take no part in a MistNet job say so."""

from pathlib import Path

from fedbus.training.params import TrainingParams
from fedbus.wire.features import FeatureTerms
from fedbus.wire.messages import Decline, FeaturesReady, FeatureTask
from fedbus_edge_agent import keys
from tests.edge_agent.harness import CONTROLLER, JOB, AgentHarness, train, version

TERMS = FeatureTerms(cut_layer=1, epsilon=1.0, features=4)


def test_a_runner_without_features_answers_with_a_reason(tmp_path: Path) -> None:
    """Neither half of MistNet begins."""
    agent = AgentHarness(tmp_path)
    agent.receive(
        CONTROLLER,
        FeatureTask(
            epoch=1,
            job=JOB,
            task=1,
            base=version(),
            terms=TERMS,
            params=TrainingParams(),
            trainer=None,
            members=1,
        ),
    )
    agent.deliver_inputs()
    assert "no part in MistNet" in agent.sent_to(CONTROLLER, FeaturesReady).reason
    agent.receive(CONTROLLER, train(2, feature_terms=TERMS))
    agent.deliver_inputs()
    assert "no part in MistNet" in agent.asked(keys.TaskReply(JOB, 2), Decline).reason
