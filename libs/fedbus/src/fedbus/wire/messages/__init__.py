"""What nodes say to each other on `link/{from}/{to}/{message}`.

A class here is a message; its name in snake case is the last level of its topic. Who may say it to whom
stands in `topics.LINKS`. Fields are never renamed: golden bytes in the tests guard them.
"""

from fedbus.wire.messages.transfer import Confirm, Gone, Join, Leave, TakeLane, Want
from fedbus.wire.messages.rounds import Decline, Dismiss, Dismissed, EvaluateTask, Evaluated, JobStopped, Noted, Offer, OpenRound, Receipt, RoundEnded, RoundOpened, StopJob, TaskTaken, TrainTask
from fedbus.wire.messages.truth import Commit, CommitRefused, Committed, EndJob, JobEnded, JobLoaded, JobRefused, JobStored, JobsRunning, LeaseGranted, LeaseHeld, ListJobs, LoadJob, LookUp, LookedUp, PlanStored, ScoreStored, StaleEpoch, StoreJob, StorePlan, StoreScore, TakeLease
from fedbus.wire.messages.models import ListModels, ModelPushed, ModelShown, ModelsListed, PushModel, RequestRefused, ShowModel, VersionFacts

__all__ = [
    "Commit",
    "CommitRefused",
    "Committed",
    "Confirm",
    "Decline",
    "Dismiss",
    "Dismissed",
    "EndJob",
    "EvaluateTask",
    "Evaluated",
    "Gone",
    "JobEnded",
    "JobLoaded",
    "JobRefused",
    "JobStopped",
    "JobStored",
    "JobsRunning",
    "Join",
    "LeaseGranted",
    "LeaseHeld",
    "Leave",
    "ListJobs",
    "ListModels",
    "LoadJob",
    "LookUp",
    "LookedUp",
    "ModelPushed",
    "ModelShown",
    "ModelsListed",
    "Noted",
    "Offer",
    "OpenRound",
    "PlanStored",
    "PushModel",
    "Receipt",
    "RequestRefused",
    "RoundEnded",
    "RoundOpened",
    "ScoreStored",
    "ShowModel",
    "StaleEpoch",
    "StopJob",
    "StoreJob",
    "StorePlan",
    "StoreScore",
    "TakeLane",
    "TakeLease",
    "TaskTaken",
    "TrainTask",
    "VersionFacts",
    "Want",
]
