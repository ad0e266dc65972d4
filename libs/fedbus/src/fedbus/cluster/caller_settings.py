"""Settings of services in the environment of `fedbus up`: which its members inherit. Pure.

Each setting of a service is in one of the three lists, which a test compares with the classes.
"""

from collections.abc import Iterator, Mapping
from typing import Final

_PREFIX: Final = "FEDBUS_"

PASSED_ON: Final = frozenset({
    "BATCH_WAIT_MS",
    "CANARY_ERROR_PERCENT",
    "CANARY_MIN_REQUESTS",
    "CANARY_PERCENT",
    "COUNTRY",
    "HEARTBEAT_SECONDS",
    "IN_FLIGHT_MB",
    "KEEP_VERSIONS",
    "LEASE_SECONDS",
    "LOG_LEVEL",
    "MASKING_LEAST_AGENTS",
    "MASKING_LEAST_COLLUDERS",
    "MASKING_LEAST_NEIGHBOURS",
    "MASKING_LEAST_THRESHOLD",
    "MAX_BATCH_ROWS",
    "MAX_CHOSEN_MB",
    "MAX_CHOSEN_VERSIONS",
    "MAX_INPUT_ELEMENTS",
    "MAX_MODEL_MB",
    "MAX_QUEUED_REQUESTS",
    "MAX_REQUEST_MB",
    "MEMORY_MB",
    "PLUGINS",
    "REQUEST_TIMEOUT_SECONDS",
    "REQUIRE_PROTECTION",
    "RUNTIME",
    "SERVE_ALIAS",
    "SHADOW",
    "STALL_SECONDS",
    "WATTS_PER_CORE",
})  # fmt: skip
"""Limits and choices that members inherit; each service ignores those of the others."""
TOKENS_FILE: Final = "HTTP_TOKENS_FILE"
OF_THE_COMMAND: Final = frozenset({"BROKER", TOKENS_FILE, "PASSWORD_FILE", "REPOSITORY", "ROOT"})
"""Settings that the `fedbus` command reads itself; members never inherit them."""
NOT_PASSED_ON: Final[Mapping[str, str]] = {
    "DATA": "--data",
    "ENCRYPTION_KEY": "the folder `keys` of the cluster's home",
    "FORMAT": "",
    "GRPC": "",
    "GRPC_CERT": "",
    "GRPC_KEY": "",
    "GRPC_MODEL": "",
    "HEALTH_FILE": "",
    "HOME": "--home",
    "HTTP": "--http",
    "HTTP_CERT": "",
    "HTTP_KEY": "",
    "HTTP_OPEN": "",
    "HTTP_TOKEN": "",
    "HTTP_TOKEN_FILE": "",
    "LOADER": "",
    "LOADER_OPTIONS": "",
    "LOG": "`fedbus logs`",
    "MODELS": "",
    "NAME": "",
    "NOISE_KEY": "",
    "OPEN": "--open",
    "PINNED_IDENTITIES": "",
    "PIPELINE": "",
    "PIPELINE_TEST": "",
    "ROLES": "",
    "SPOOL": "",
    "STORE": "",
    "STORE_CA_FILE": "",
    "STORE_PASSWORD_FILE": "",
    "THREADS": "",
    "TRAINER": "--framework",
}
"""Files, addresses and names, which differ among members or are those of another deployment.

With what to use instead; empty if a local cluster has nothing of the kind.
"""


def inherited(caller: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the caller that a member gets: no other FEDBUS_ one."""
    return {
        name: value
        for name, value in caller.items()
        if not name.startswith(_PREFIX) or name.removeprefix(_PREFIX) in PASSED_ON
    }


def ignored(caller: Mapping[str, str], *, http: bool) -> Iterator[str]:
    """Yield a sentence for each setting of the caller that no member gets.

    There is none for OF_THE_COMMAND, which other commands in the same shell may need, except for
    TOKENS_FILE of a cluster without HTTP (`http`), where the APIs were probably wanted.
    """
    if not http and caller.get(_PREFIX + TOKENS_FILE):
        yield f"{_PREFIX}{TOKENS_FILE} has no effect on a local cluster without --http"
    for name, instead in NOT_PASSED_ON.items():
        if caller.get(_PREFIX + name):
            hint = f"; use {instead}" if instead else ""
            yield f"{_PREFIX}{name} has no effect on a local cluster{hint}"
