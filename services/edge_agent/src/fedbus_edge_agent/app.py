"""Construction of an agent from its settings."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fedbus.blobs.spool import Spools
from fedbus.errors import PluginError, SettingsError
from fedbus.frameworks.tflite.admission import Admission
from fedbus.runtime import service
from fedbus.runtime.identity import Identity
from fedbus.runtime.shell import Shell
from fedbus.secure_aggregation.accepted_terms import SAFE_TERMS, AcceptedTerms
from fedbus.secure_aggregation.known_identities import read_pinned_identities
from fedbus.wire.documents import AgentFacts
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.host.capabilities import measure
from fedbus_edge_agent.host.freed_memory import return_freed_memory
from fedbus_edge_agent.http.auth import read_token_auth
from fedbus_edge_agent.masking.masked_tasks import MaskedTasks
from fedbus_edge_agent.masking.own_identity import OwnIdentity
from fedbus_edge_agent.masking.step_journal import StepJournals
from fedbus_edge_agent.settings import AgentSettings, energy_meter, load_source, read_encryption_key
from fedbus_edge_agent.standalone.jobs import HttpStarted, StandaloneJobs
from fedbus_edge_agent.standalone.models import UploadedModels
from fedbus_edge_agent.standalone.runner import StandaloneRunner
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.watchdog import TrainingThread

if TYPE_CHECKING:
    from fedbus.runtime.http import HttpApi

TRIALS = "tflite-trials"
LARGE_FRAMEWORKS = ("torch", "tensorflow")
"""An agent that trains with one has memory enough, and is faster if freed blocks are kept."""
SPOOLS_MEMORY_BYTES = 8 * 2**30


def build(settings: AgentSettings, identity: Identity) -> service.Built:
    """Build an agent.

    Raises:
        SettingsError: The data, the preferred trainer or the encryption key cannot be loaded, the
            country is unknown, or the settings of the HTTP API contradict each other.
    """
    if settings.trainer == "tflite" or not any(map(find_spec, LARGE_FRAMEWORKS)):
        return_freed_memory()
    source = load_source(settings)
    token = None if settings.http_token is None else settings.http_token.get_secret_value()
    auth = read_token_auth(
        settings.http, token, settings.http_token_file, wide_open=settings.http_open
    )
    if settings.http_tokens_file is not None and (auth is not None or settings.http_open):
        raise SettingsError(
            "FEDBUS_HTTP_TOKENS_FILE: there is FEDBUS_HTTP_TOKEN, FEDBUS_HTTP_TOKEN_FILE or "
            "FEDBUS_HTTP_OPEN as well; set one of them only"
        )
    home = settings.home / identity.name
    outbox = Outbox(home)
    # Outside the agents' own folders: the agents of a machine share the results of trials.
    admission = Admission(settings.home / TRIALS, identity.name)
    key = read_encryption_key(settings.encryption_key)
    trainer = LocalTrainer(
        outbox,
        source,
        settings.trainer,
        allowed=settings.plugins,
        admission=admission,
        encryption_key=key,
        meter=energy_meter(settings.watts_per_core, settings.country),
    )
    try:
        trainer.trainers.check_preferred()
    except PluginError as error:
        raise SettingsError(f"FEDBUS_TRAINER: {error}") from error
    models = UploadedModels(home / "models")
    runner = StandaloneRunner(home / "jobs", trainer, models)
    choices = trainer.trainers.available(), source.loaders(), source.transforms()

    def facts(task: str, models: dict[str, int]) -> AgentFacts:
        examples, data_format = source.now.train.examples, source.now.form.plain()
        folder = settings.home
        return measure(settings.roles, examples, data_format, folder, task, models, *choices)

    core = AgentCore(
        trainer,
        outbox,
        Spools(SPOOLS_MEMORY_BYTES, settings.home),
        facts,
        thread=TrainingThread(settings.stall_seconds),
        standalone=StandaloneJobs(runner.run_round, runner.save_report, runner.load_reports()),
        data=source,
        encryption_key=key,
        masked=masked_tasks(
            settings.pinned_identities, identity.name, home, outbox, settings.accepted_terms
        ),
        required=settings.require_protection,
    )

    def http_api(shell: Shell) -> "HttpApi":
        # aiohttp is imported only if FEDBUS_HTTP is set
        from fedbus.http_api.access import Access, TokenFileAccess  # noqa: PLC0415
        from fedbus_edge_agent.http.handlers import Handlers  # noqa: PLC0415
        from fedbus_edge_agent.http.routes import (  # noqa: PLC0415
            AgentAccess,
            agent_api,
            metrics_only,
        )

        access: Access
        if settings.http_tokens_file is not None:
            access = TokenFileAccess(settings.http_tokens_file)
        elif auth is not None:
            access = AgentAccess(auth)
        else:
            return metrics_only(core, settings.home)
        shell.receive_local(HttpStarted())
        return agent_api(Handlers(core, models, runner, trainer, shell), access, settings.home)

    # The steps of masked rounds are answered while the other threads train.
    return service.Built(core, http_api=http_api, spare_threads=1)


def masked_tasks(
    pinned: Path | None,
    name: str,
    home: Path,
    outbox: Outbox,
    accepted: AcceptedTerms = SAFE_TERMS,
) -> MaskedTasks | None:
    """Return what masked tasks need; None if `cryptography` is not installed.

    Raises:
        SettingsError: The identity key, or FEDBUS_PINNED_IDENTITIES, cannot be used.
        StoreError: The identity key cannot be read or written.
    """
    if find_spec("cryptography") is None:
        return None
    try:
        known = None if pinned is None else read_pinned_identities(pinned.read_text("utf-8"))
    except (OSError, ValueError, SettingsError) as error:
        raise SettingsError(f"FEDBUS_PINNED_IDENTITIES: {pinned}: {error}") from error
    identity = OwnIdentity.keep(name, home)
    journals = StepJournals(home / "masking")
    return MaskedTasks(identity, journals, outbox, known, os.urandom, accepted=accepted)
