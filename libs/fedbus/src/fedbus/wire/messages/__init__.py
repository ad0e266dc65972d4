"""Messages between nodes, sent on `link/{from}/{to}/{message}`.

A class is a message; its name in snake case is the last level of its topic. `topics.LINKS` states
which roles send it to which. A docstring names the two nodes *sender* and *receiver*; a command is
an imperative to the receiver. The golden bytes in the tests guard the names of fields.

A module of messages is imported by the first use of one of its names: 89 classes take 1.4 MB, and
each service sends and receives only some of them.
"""

from typing import TYPE_CHECKING, Final

from fedbus.lazy_names import names_on_first_use

if TYPE_CHECKING:
    from fedbus.wire.documents import JobFault
    from fedbus.wire.messages.commits import (
        Commit,
        CommitRefused,
        Committed,
        LookedUp,
        LookUp,
        NoiseRecorded,
        NoiseRefused,
        RecordNoise,
    )
    from fedbus.wire.messages.feature_requests import FeaturesReady, FeatureTask
    from fedbus.wire.messages.job_records import (
        Configuration,
        ConfigurationShown,
        ConfigurationsListed,
        ConfigurationStored,
        JobFileShown,
        JobResult,
        JobResultShown,
        JobResultsListed,
        ListConfigurations,
        ListJobResults,
        RoundOutcome,
        ShowConfiguration,
        ShowJobFile,
        ShowJobResult,
        StoreConfiguration,
    )
    from fedbus.wire.messages.job_storage import (
        Acceptance,
        EndJob,
        EvaluationStored,
        ForgetJob,
        JobEnded,
        JobFileRefused,
        JobForgotten,
        JobLoaded,
        JobsListed,
        ListJobs,
        LoadJob,
        PlanRefused,
        PlanStored,
        StoreEvaluation,
        StoreJob,
        StorePlan,
    )
    from fedbus.wire.messages.leases import LeaseGranted, LeaseHeld, StaleEpoch, TakeLease
    from fedbus.wire.messages.model_requests import (
        KeptVersion,
        ListModels,
        ModelPushed,
        ModelShown,
        ModelsListed,
        PrivacyShown,
        PushModel,
        RequestRefused,
        ShowModel,
        ShowPrivacy,
        VersionFacts,
    )
    from fedbus.wire.messages.model_trail import (
        AliasMoved,
        ListNameChanges,
        ListRelatives,
        NameChangesListed,
        PromoteVersion,
        RelativesListed,
        RollBackAlias,
        TagVersion,
        VersionTagged,
    )
    from fedbus.wire.messages.rounds import (
        Decline,
        Dismiss,
        Dismissed,
        Evaluated,
        EvaluateTask,
        JobStopped,
        Offer,
        OpenRound,
        Receipt,
        RoundEnded,
        RoundEndNoted,
        RoundOpened,
        StopJob,
        TaskTaken,
        TrainTask,
    )
    from fedbus.wire.messages.steps import Step, StepReply
    from fedbus.wire.messages.transfer import (
        BlobNotFound,
        ChunkRequest,
        Confirm,
        Join,
        Leave,
        UseUnicast,
    )

_NAMES: Final = {
    "fedbus.wire.documents": ("JobFault",),
    "fedbus.wire.messages.commits": (
        "Commit",
        "CommitRefused",
        "Committed",
        "LookUp",
        "LookedUp",
        "NoiseRecorded",
        "NoiseRefused",
        "RecordNoise",
    ),
    "fedbus.wire.messages.feature_requests": (
        "FeatureTask",
        "FeaturesReady",
    ),
    "fedbus.wire.messages.job_records": (
        "Configuration",
        "ConfigurationShown",
        "ConfigurationStored",
        "ConfigurationsListed",
        "JobFileShown",
        "JobResult",
        "JobResultShown",
        "JobResultsListed",
        "ListConfigurations",
        "ListJobResults",
        "RoundOutcome",
        "ShowConfiguration",
        "ShowJobFile",
        "ShowJobResult",
        "StoreConfiguration",
    ),
    "fedbus.wire.messages.job_storage": (
        "Acceptance",
        "EndJob",
        "EvaluationStored",
        "ForgetJob",
        "JobEnded",
        "JobFileRefused",
        "JobForgotten",
        "JobLoaded",
        "JobsListed",
        "ListJobs",
        "LoadJob",
        "PlanRefused",
        "PlanStored",
        "StoreEvaluation",
        "StoreJob",
        "StorePlan",
    ),
    "fedbus.wire.messages.leases": (
        "LeaseGranted",
        "LeaseHeld",
        "StaleEpoch",
        "TakeLease",
    ),
    "fedbus.wire.messages.model_requests": (
        "KeptVersion",
        "ListModels",
        "ModelPushed",
        "ModelShown",
        "ModelsListed",
        "PrivacyShown",
        "PushModel",
        "RequestRefused",
        "ShowModel",
        "ShowPrivacy",
        "VersionFacts",
    ),
    "fedbus.wire.messages.model_trail": (
        "AliasMoved",
        "ListNameChanges",
        "ListRelatives",
        "NameChangesListed",
        "PromoteVersion",
        "RelativesListed",
        "RollBackAlias",
        "TagVersion",
        "VersionTagged",
    ),
    "fedbus.wire.messages.rounds": (
        "Decline",
        "Dismiss",
        "Dismissed",
        "EvaluateTask",
        "Evaluated",
        "JobStopped",
        "Offer",
        "OpenRound",
        "Receipt",
        "RoundEndNoted",
        "RoundEnded",
        "RoundOpened",
        "StopJob",
        "TaskTaken",
        "TrainTask",
    ),
    "fedbus.wire.messages.steps": (
        "Step",
        "StepReply",
    ),
    "fedbus.wire.messages.transfer": (
        "BlobNotFound",
        "ChunkRequest",
        "Confirm",
        "Join",
        "Leave",
        "UseUnicast",
    ),
}
if not TYPE_CHECKING:
    __getattr__, __dir__ = names_on_first_use(globals(), _NAMES)
