"""Client of a fedbus deployment, for programs, notebooks and the command line.

`fedbus.connect` and `fedbus.connect_sync` make a client; this package has the types of what its
methods return, and its errors. Nothing here prints, or needs `fedbus[cli]`.

    asyncio_client    `connect` and `Client`, whose methods are in job_methods, model_methods,
                      push_methods, key_holder_methods and version_name_methods
    sync_client       the same methods without `await`, made of them: `connect_sync`, `SyncClient`
    address           which broker, and which account
    session           the login, shared by the clients of one account in an event loop
    connection        retained documents and subscriptions of one client
    request_channel   its requests to services
    job_requests, stored_jobs, nodes, stored_models, model_downloads, model_uploads, inference
                      what the methods do, one file for each subject
    results, job_reports
                      what they return
    repository        requests to the repository, as cores of a node; pure
    session_node      runs such a core, with blobs, in a session
    model_source      a model to be pushed: read or made (packing, spec_trainers, model_factory),
                      tried (model_rehearsal, model_file_check), its outputs named (model_outputs),
                      its input described (model_inputs), as a push sends it (packed_model)
    job_files         job files, and their ids
    model_names       tags, aliases and lineage of versions
    kept_versions     which versions keep their weights; pure
    names             names of jobs, models and versions, validated
    missing_services  what a job waits for outside of itself; pure
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedbus.client.address import BrokerLogin
    from fedbus.client.asyncio_client import Client, connect
    from fedbus.client.failures import Failed, JobRefused, Refused, Unreachable
    from fedbus.client.job_reports import Awaiting, JobHistory, JobOutcome, Submission
    from fedbus.client.model_inputs import InputTerms
    from fedbus.client.model_source import prepare_model
    from fedbus.client.packed_model import PackedModel
    from fedbus.client.results import (
        InferenceResult,
        ModelHistory,
        NodeStatus,
        PulledModel,
        PushedModel,
        StoredModel,
    )
    from fedbus.client.sync_client import SyncClient, connect_sync
    from fedbus.wire.blobs import ModelRef
    from fedbus.wire.documents import AgentFacts, JobFault, JobState, ModelSpec, RoundState
    from fedbus.wire.messages import Configuration, JobResult, PrivacyShown, RoundOutcome
    from fedbus.wire.privacy import PrivacySpent

__all__ = [
    "AgentFacts",
    "AliasMoved",
    "Awaiting",
    "BrokerLogin",
    "Client",
    "Configuration",
    "Failed",
    "InferenceResult",
    "InputTerms",
    "JobFault",
    "JobHistory",
    "JobOutcome",
    "JobRefused",
    "JobResult",
    "JobState",
    "ModelHistory",
    "ModelRef",
    "ModelSpec",
    "NameChange",
    "NodeStatus",
    "PackedModel",
    "PrivacyShown",
    "PrivacySpent",
    "PulledModel",
    "PushedModel",
    "Refused",
    "RoundOutcome",
    "RoundState",
    "StoredModel",
    "Submission",
    "SyncClient",
    "Unreachable",
    "VersionFacts",
    "VersionTagged",
    "connect",
    "connect_sync",
    "prepare_model",
]

_MODULES = {
    "AgentFacts": "fedbus.wire.documents",
    "AliasMoved": "fedbus.wire.messages",
    "Awaiting": "fedbus.client.job_reports",
    "Client": "fedbus.client.asyncio_client",
    "BrokerLogin": "fedbus.client.address",
    "Failed": "fedbus.client.failures",
    "JobFault": "fedbus.wire.documents",
    "JobRefused": "fedbus.client.failures",
    "JobHistory": "fedbus.client.job_reports",
    "JobState": "fedbus.wire.documents",
    "ModelSpec": "fedbus.wire.documents",
    "ModelRef": "fedbus.wire.blobs",
    "ModelHistory": "fedbus.client.results",
    "Configuration": "fedbus.wire.messages",
    "JobOutcome": "fedbus.client.job_reports",
    "JobResult": "fedbus.wire.messages",
    "RoundOutcome": "fedbus.wire.messages",
    "NameChange": "fedbus.wire.messages.model_trail",
    "NodeStatus": "fedbus.client.results",
    "PackedModel": "fedbus.client.packed_model",
    "InferenceResult": "fedbus.client.results",
    "InputTerms": "fedbus.client.model_inputs",
    "PrivacyShown": "fedbus.wire.messages",
    "PrivacySpent": "fedbus.wire.privacy",
    "PulledModel": "fedbus.client.results",
    "PushedModel": "fedbus.client.results",
    "Refused": "fedbus.client.failures",
    "RoundState": "fedbus.wire.documents",
    "StoredModel": "fedbus.client.results",
    "Submission": "fedbus.client.job_reports",
    "SyncClient": "fedbus.client.sync_client",
    "Unreachable": "fedbus.client.failures",
    "VersionFacts": "fedbus.wire.messages",
    "VersionTagged": "fedbus.wire.messages",
    "connect": "fedbus.client.asyncio_client",
    "connect_sync": "fedbus.client.sync_client",
    "prepare_model": "fedbus.client.model_source",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
