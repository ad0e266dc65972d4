"""Paths of ASSIST-IoT that have no meaning in fedbus, and what to use instead."""

from typing import Final

NO_MEANING: Final = {
    "/FL_early_end": "jobs end early by their `stopping_target`, which the controller evaluates "
    "itself; POST /job/stop/{training_id} stops one",
    "/FL_traininground": "collectors report rounds over the bus; GET /job/status/{training_id} "
    "has the round",
    "/recoverTrainingEpochs/{epoch}/{total_epochs}": "agents report progress over the bus, and it "
    "is not shown to users: it would tell who trains",
    "/databases": "the repository has no databases to list; its HTTP API has GET /model",
    "/addModelData": "what a job needs beside its file is in the model spec: POST /model of the "
    "repository's HTTP API",
    "/modelData": "what a job needs beside its file is in the model spec: GET /model/meta of the "
    "repository's HTTP API",
    "/updateConfigurationModel": "a configuration is named by what it means, so it never changes: "
    "POST /storeConfigurationModel stores another one",
}
"""Each is answered with 501 and its sentence."""
