"""Job files as people write them, and what is wrong with those that are refused."""

import json
from typing import Any

import pytest

from fedbus.jobs import JobFault, JobFileError, parse

SMALLEST: dict[str, Any] = {"training_id": "digits-1", "model_name": "digits", "num_rounds": 30}

AEROS: dict[str, Any] = {
    "client_type_id": "base",
    "server_address": "collector:8080",
    "eval_metrics": ["accuracy"],
    "eval_metrics_value": "0",
    "eval_func": "categorical_crossentropy",
    "num_classes": "10",
    "num_rounds": "15",
    "shape": ["32", "32", 3],
    "training_id": 10,
    "model_name": "keras_test",
    "model_version": "version_1",
    "config": [
        {
            "config_id": "min_effort",
            "batch_size": "64",
            "steps_per_epoch": "32",
            "epochs": "1",
            "learning_rate": "0.005",
        }
    ],
    "optimizer_config": {"optimizer": "SGD", "lr": "0.005", "momentum": "0", "nesterov": "False"},
    "scheduler_config": {},
    "warmup_config": {"scheduler": None, "scheduler_conf": {"gamma": None}},
    "privacy-mechanisms": {},
    "stopping_flag": "True",
    "stopping_target": {"accuracy": "0.92", "loss": 0.1},
}


def job_with(**keys: object) -> bytes:
    """Write the smallest job with these keys besides; `privacy_mechanisms` gets its hyphen."""
    tree = {**SMALLEST, **keys}
    if "privacy_mechanisms" in tree:
        tree["privacy-mechanisms"] = tree.pop("privacy_mechanisms")
    return json.dumps(tree).encode()


def faults_of(data: bytes) -> tuple[JobFault, ...]:
    """Return what is wrong with a job file that is refused."""
    with pytest.raises(JobFileError) as caught:
        parse(data)
    return caught.value.faults


def sentences(data: bytes) -> list[str]:
    """Return the faults as people read them."""
    return [str(fault) for fault in faults_of(data)]
