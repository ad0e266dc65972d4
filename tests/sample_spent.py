"""Spent privacy of a job, for tests that only need some ε."""

from fedbus.wire.privacy import PrivacySpent

SAMPLE_SPENT = PrivacySpent(
    mechanism="dp-fixed",
    unit="agent",
    relation="zero-out",
    sampling="any",
    accountant="pld",
    epsilon=1.5,
    delta=1e-5,
    entries=1,
    participations=1,
    model_epsilon=1.5,
    model_delta=1e-5,
)
