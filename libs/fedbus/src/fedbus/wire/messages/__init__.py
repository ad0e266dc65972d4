"""Messages between nodes, sent on `link/{from}/{to}/{message}`.

A class is a message; its name in snake case is the last level of its topic. `topics.LINKS` states
which roles send it to which. A docstring names the two nodes *sender* and *receiver*; a command is
an imperative to the receiver. The golden bytes in the tests guard the names of fields.
"""

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
