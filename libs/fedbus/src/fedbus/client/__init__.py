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

from typing import TYPE_CHECKING, Final

from fedbus.lazy_names import names_on_first_use

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
    from fedbus.wire.messages import (
        AliasMoved,
        Configuration,
        JobResult,
        PrivacyShown,
        RoundOutcome,
        VersionFacts,
        VersionTagged,
    )
    from fedbus.wire.messages.model_trail import NameChange
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

_NAMES: Final = {
    "fedbus.client.address": ("BrokerLogin",),
    "fedbus.client.asyncio_client": (
        "Client",
        "connect",
    ),
    "fedbus.client.failures": (
        "Failed",
        "JobRefused",
        "Refused",
        "Unreachable",
    ),
    "fedbus.client.job_reports": (
        "Awaiting",
        "JobHistory",
        "JobOutcome",
        "Submission",
    ),
    "fedbus.client.model_inputs": ("InputTerms",),
    "fedbus.client.model_source": ("prepare_model",),
    "fedbus.client.packed_model": ("PackedModel",),
    "fedbus.client.results": (
        "InferenceResult",
        "ModelHistory",
        "NodeStatus",
        "PulledModel",
        "PushedModel",
        "StoredModel",
    ),
    "fedbus.client.sync_client": (
        "SyncClient",
        "connect_sync",
    ),
    "fedbus.wire.blobs": ("ModelRef",),
    "fedbus.wire.documents": (
        "AgentFacts",
        "JobFault",
        "JobState",
        "ModelSpec",
        "RoundState",
    ),
    "fedbus.wire.messages": (
        "AliasMoved",
        "Configuration",
        "JobResult",
        "PrivacyShown",
        "RoundOutcome",
        "VersionFacts",
        "VersionTagged",
    ),
    "fedbus.wire.messages.model_trail": ("NameChange",),
    "fedbus.wire.privacy": ("PrivacySpent",),
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = names_on_first_use(globals(), _NAMES)
