"""Generator of `docs/http.md` from the endpoint tables of the services."""

from collections.abc import Iterator, Sequence

from endpoint_tables import endpoint_table

from fedbus.http_api.endpoints import ApiDescription
from fedbus.http_api.failed_logins import FAILED_LOGINS_SECONDS, MAX_FAILED_LOGINS
from fedbus.http_api.request_bodies import STALLED_BODY_SECONDS
from fedbus.http_api.responses import REFUSAL_STATUSES, RETRY_STORE_SECONDS
from fedbus.http_api.scopes import SCOPE_MEANINGS
from fedbus.limits import MAX_BLOB_BYTES, MAX_JOB_FILE_BYTES, MAX_SPEC_BYTES
from fedbus.runtime.http_connections import FIRST_REQUEST_SECONDS, MAX_HTTP_CONNECTIONS
from fedbus_controller.http.awaited_answers import ANSWER_SECONDS
from fedbus_controller.http.endpoints import description as controller
from fedbus_controller.http.refused_paths import NO_MEANING
from fedbus_edge_agent.http.endpoints import description as agent
from fedbus_inference.http.inference_endpoints import description as inference
from fedbus_repository.http.endpoints import description as repository
from fedbus_repository.http.received_files import MAX_UPLOADS_AT_ONCE
from fedbus_repository.http.received_versions import MAX_CONVERTED_BYTES
from fedbus_repository.stores.document_records import MAX_DOCUMENT_BYTES, MAX_DOCUMENTS

HEAD = f"""# HTTP beside the topics

Generated from the endpoint tables of the services by `make docs`; do not edit.

Whatever HTTP offers, the bus offers as well: HTTP is for programs without MQTT, and for clients of ASSIST-IoT and
aerOS. It is off unless it is configured.

| variable | |
|---|---|
| `FEDBUS_HTTP` | host:port; without it a service listens on no port. Alone it serves `/healthz` and `/metrics` only |
| `FEDBUS_HTTP_TOKENS_FILE` | the tokens file: the API is on. Several services may share one file |
| `FEDBUS_HTTP_OPEN` | `true`, in place of tokens, for inference and agents on a loopback address alone: programs of this machine need no token |
| `FEDBUS_HTTP_CERT`, `FEDBUS_HTTP_KEY` | files of a certificate and its private key in PEM: TLS 1.2 or later, read at the start |

Each service describes its API at `/openapi.json` (OpenAPI 3.1) and, where the package `swagger-ui-bundle` is installed
(the extra `api-docs`; controller, repository and inference have it), at `/docs` with Swagger UI, in which requests can
be sent: *Authorize* takes a token. Its files come from the package and the page's Content-Security-Policy allows no
others, so a browser loads nothing from elsewhere. Without the package `/docs` is a plain page.

Prometheus reads `/metrics` of each service without a token, at the address of `FEDBUS_HTTP`. What tells when an agent
trains is left out of an agent's metrics unless the request has a token (`authorization: {{credentials_file: token}}`):

```yaml
scrape_configs:
  - job_name: fedbus
    static_configs: [{{targets: ["127.0.0.1:9051", "127.0.0.1:9052"]}}]
```

## Tokens

```
(umask 077; fedbus tokens new ci models:read models:write jobs:read jobs:write --file tokens > token)
fedbus tokens list --file tokens
fedbus tokens revoke ci --file tokens
```

`new` prints the token once; `umask 077` keeps the file it goes to from other users. The tokens file has a line for
each token: its name, its scopes, and its SHA-256, never the token itself; a token is 256 random bits, so its digest
needs no salt. Only the owner may read the file (mode 0600), else the service refuses it. A service looks for a change
of the file at each request, so a new token works at once and a revoked one ends at once. While the file cannot be
read, no token is accepted (503), and the log says why
(`http_tokens_unreadable`).

A request has the header `Authorization: Bearer TOKEN`. Without a valid token it is answered with 401, with one that
lacks the scope with 403, both before its body is read. After {MAX_FAILED_LOGINS} wrong tokens in {FAILED_LOGINS_SECONDS:g} s
an address gets 429 for further wrong ones; the right token of another client at that address still works. Tokens are
compared in constant time.

| scope | allows to |
|---|---|
"""

EXAMPLES = f"""
## Try it

On a cluster of this machine, every service has its API with one more variable; the command prints the addresses, which
`fedbus clusters --json` has too:

```
FEDBUS_HTTP_TOKENS_FILE=tokens fedbus up --http
```

Or service by service: in an environment that has fedbus, a broker on this machine without access rules
(`mosquitto -p 1883`), and in the root of the source:

```
umask 077
fedbus tokens new me models:read models:write results:read results:write documents:read documents:write jobs:read jobs:write inference --file tokens > token
export FEDBUS_HTTP_TOKENS_FILE=tokens
FEDBUS_HTTP=127.0.0.1:9051 FEDBUS_DATA=data python -m fedbus_repository &
FEDBUS_HTTP=127.0.0.1:9052 python -m fedbus_controller &
```

With `REPOSITORY=http://127.0.0.1:9051`, `CONTROLLER=http://127.0.0.1:9052`,
`AUTH="Authorization: Bearer $(cat token)"` and `FOLDER=$(mktemp -d)`, a first version of the digits model, with random
weights; the first line writes them. `POST` stores a draft, which is a version without weights, and `PUT` makes it a
version:

```
$ python -c "import json, numpy as np; r = np.random.default_rng(); t = json.load(open('libs/fedbus/src/fedbus/demo_data/model.json'))['layout']; np.savez('$FOLDER/weights.npz', **{{x['name']: r.normal(0, 0.1, x['shape']).astype(x['dtype']) for x in t}})"
$ curl -fsS -H "$AUTH" $REPOSITORY/model --data-binary @libs/fedbus/src/fedbus/demo_data/model.json
$ curl -fsS -H "$AUTH" -X PUT $REPOSITORY/model/digits/1 -F weights=@$FOLDER/weights.npz -F file=@libs/fedbus/src/fedbus/demo_data/digits.tflite
$ curl -fsS -H "$AUTH" $REPOSITORY/model
$ curl -fsS -H "$AUTH" $REPOSITORY/model/digits/latest -o $FOLDER/digits.blob
$ curl -fsS -H "$AUTH" $REPOSITORY/model/digits/latest -r 0-99 | wc -c
$ curl -fsS -H "$AUTH" $REPOSITORY/models/download/shell/model_digits_1 -o $FOLDER/digits.tflite
$ curl -fsS -H "$AUTH" -X PUT $REPOSITORY/models/digits/tags/first -d '{{"version": 1, "note": "random weights"}}'
$ curl -fsS -H "$AUTH" -X PUT $REPOSITORY/models/digits/aliases/production -d '{{"version": 1, "expected": 0}}'
$ curl -fsS -H "$AUTH" $REPOSITORY/models/digits/names/changes
$ curl -fsS -H "$AUTH" $REPOSITORY/models/digits/lineage?relation=leaves
$ curl -fsS -H "$AUTH" $REPOSITORY/model/digits/production?format=npz -o $FOLDER/digits.npz
```

A job, its state, its file, its configuration; and an end to it:

```
$ curl -fsS -H "$AUTH" $CONTROLLER/job/config/digits-1 --data-binary @libs/fedbus/src/fedbus/demo_data/job.json
$ curl -fsS -H "$AUTH" $CONTROLLER/job/status/digits-1
$ curl -fsS -H "$AUTH" $CONTROLLER/job/file/digits-1
$ curl -fsS -H "$AUTH" $CONTROLLER/configurations
$ curl -fsS -H "$AUTH" -X POST $CONTROLLER/job/stop/digits-1
$ curl -fsS -H "$AUTH" $CONTROLLER/job/result/digits-1
```

A transformation of another program, with its file:

```
$ curl -fsS -H "$AUTH" $REPOSITORY/transformation -d '{{"id": "scale", "parameter_types": {{"factor": "float"}}, "default_values": {{"factor": 2}}, "outputs": ["x"], "needs": {{"RAM": 0.1}}}}'
$ curl -fsS -H "$AUTH" -X PUT $REPOSITORY/transformation/scale -F file=@README.md
$ curl -fsS -H "$AUTH" $REPOSITORY/transformation/scale
$ curl -fsS -H "$AUTH" -X DELETE $REPOSITORY/transformation/scale
```

## Downloads and uploads

Both are streamed, for files of up to {MAX_BLOB_BYTES // 2**30} GiB, with a few blocks in memory. A download has the
BLAKE3 digest of its bytes as strong `ETag`, and takes one range (`Range: bytes=0-99`, `100-`, `-100`) with
`If-Range`; a range that begins beyond the end is answered with 416 and the size in `Content-Range`. `HEAD`,
`If-Match` and `If-None-Match` work as usual. So `curl -C -` continues a download.

An upload needs a `Content-Length`, is a form with one file or the file itself as the body, and leaves nothing if it
breaks off. A compressed body (`Content-Encoding`) is refused with 415. Its space is reserved first: one that does not
fit the disk is answered with 507 at once, before it is sent. A file is written once, under the digest that it turns
out to have, and so are the weights and files of a version. Weights in an `.npz` file are the exception: they are
converted to the encoding `plain`, so the space of both is needed. With the header `Fedbus-Digest` a file must have this
BLAKE3 digest, and with `Content-Digest: sha-256=:BASE64:` (RFC 9530) this one.
At most {MAX_UPLOADS_AT_ONCE} uploads are received at a time, further ones get 503 with `Retry-After`.

With `?format=npz` or `?format=safetensors` the weights of a version, or of the result of a job, are sent as a file of
named arrays, which NumPy and the package safetensors read without fedbus. Such a file is put together from ranges of
the stored weights while it is sent: it needs no space, has no limit of size of its own, and takes ranges as well.
Encrypted versions have no readable arrays, and a model that only runs has none: 409.

**Files are never executed.** The files of strategies, transformations, collectors and results are stored and sent back
byte for byte. No service of fedbus loads, unpickles or runs one, whatever a client claims that it is. A program that
downloads such a file and unpickles it runs what its uploader wrote; use formats without code.

## Limits

| what | limit |
|---|---|
| connections of a service | {MAX_HTTP_CONNECTIONS}; further ones are closed at once |
| time from the connection to the end of the first request's headers | {FIRST_REQUEST_SECONDS:g} s |
| an uploaded file, or the weights of a version | {MAX_BLOB_BYTES // 2**30} GiB; a form or a file that is larger gets 413 before it is read |
| weights in an `.npz` file | {MAX_CONVERTED_BYTES // 2**30} GiB of numbers, then 413: they are converted in memory. Larger ones are sent as a blob of the encoding `plain`, as `fedbus models push` sends them |
| a model spec with its `meta` | {MAX_SPEC_BYTES // 2**20} MiB of JSON |
| another document: a strategy, a transformation, a collector, a result, the `meta` of a version | {MAX_DOCUMENT_BYTES // 1024} KiB of JSON |
| documents of each kind, and drafts | {MAX_DOCUMENTS}, then 507 |
| a job file | {MAX_JOB_FILE_BYTES // 1024} KiB |
| uploads of files at a time | {MAX_UPLOADS_AT_ONCE}; further ones get 503 |
| time without a byte of a body | {STALLED_BODY_SECONDS:g} s, then 408 |
| time that the controller waits for the repository | {ANSWER_SECONDS:g} s, then 504 |

`/metrics` has `fedbus_http_requests_total` by route, method and status, and the histogram
`fedbus_http_request_seconds`, from the headers of a request to the end of its response. A route is a template, such as
`/model/{{name}}/{{version}}`: no names of models or jobs are in metrics. Paths that are no endpoint are counted as
`other`, and clients that closed their connection before the end with the status 499.

A key of a JSON body that would not be stored is refused with 400, and so is an unknown parameter in the address of a
request that changes something; the sentence names what was expected. Anything goes in `meta`, `results` and other free
parts. What an answer has beside the document that was stored (`created`, `changed`, the digest and size of the file)
may be sent back with it.

Every refusal is JSON, `{{"error": …, "faults": […]}}`, and states what was expected. What a private job hides from
users of the bus is hidden here as well: reports of its versions and results have the ε, and no figure of its agents.

## Faults of the store

Every service answers a fault of its disk or its database with the status of its kind, and with the sentence that says
how to mend it. Nothing that was acknowledged before is lost.

| fault | status |
|---|---|
| the disk, the quota or the database is full | {REFUSAL_STATUSES["full"]} |
| the database does not answer, or too many files are open | {REFUSAL_STATUSES["unreachable"]} with `Retry-After: {RETRY_STORE_SECONDS}`: send the request again |
| a read-only or failing disk, a refused login, lost rights, another repository on the same database | {REFUSAL_STATUSES["unusable"]} without `Retry-After`: an operator must act |
| a damaged or missing record or blob | {REFUSAL_STATUSES["damaged"]}: restore it from a backup, or store it again |

"""
SECTIONS: Sequence[tuple[str, ApiDescription, str]] = (
    (
        "Repository",
        repository(),
        """The paths and status codes of ASSIST-IoT's FL repository: 201 created, 204 changed or deleted, 400 for a
duplicate, 404 for what is missing. A version of a model is a number here, which counts from 1; where one is read it may
also be `latest`, an alias or a tag. `POST /model` takes a model spec, as `fedbus models push` reads it, and stores a
draft: a version without weights, which no job and no inference service sees. `PUT` sends the weights (`.npz`, or a blob
of the encoding `plain`) and the files of the spec; it is checked like a push, and makes the draft a version. A model
that only runs, such as a plain `.tflite` or `.onnx` file, has `"layout": []` and its file in `architectures`; its form
has no `weights`.

Tags and aliases are changed by the rules of the bus, and announced there. The author of a change is the name of its
token, as `http.NAME`. With `expected` an alias is moved only if it names this version now (0: none), else the answer is
409; a repeated request changes nothing.
""",
    ),
    (
        "Controller",
        controller(),
        """Jobs and configurations, with the paths of ASSIST-IoT's orchestrator and training collector. A job file is
[that of fedbus](job-file.md), and takes the same way as one on the bus. With the header `Idempotency-Key`, equal
requests are one job; so are equal files of one `training_id`. A controller without the lease answers 503. Statuses are
`WAITING`, `TRAINING`, `FINISHED`, `INTERRUPTED` (failed or cancelled) and `INACTIVE` (not known).

`GET /job/status/{training_id}` says where a job is now, for polling: its status, how many rounds are done, the metrics
of the last one. `GET /job/result/{training_id}` is the repository's record of the job, which stays: strategy, privacy,
energy, and its rounds with their metrics, of which the last ones come first and `?before=` gets earlier ones.
""",
    ),
    (
        "Inference service",
        inference(),
        """Predictions: the Open Inference Protocol v2, TensorFlow Serving's JSON. `{model}` may name a version, as
`digits@production`; without tokens the API can be open on a loopback address (`FEDBUS_HTTP_OPEN=true`). Requests,
answers, gRPC and examples: [inference.md](inference.md).
""",
    ),
    (
        "Agent",
        agent(),
        """Jobs without a controller, with aerOS's paths: see [agent.md](agent.md). An agent may have one token in
place of a tokens file; it allows everything.
""",
    ),
)


def http_page() -> str:
    """Return the page of all HTTP APIs."""
    scopes = "".join(f"| `{scope}` | {what} |\n" for scope, what in SCOPE_MEANINGS.items())
    parts = [HEAD, scopes, EXAMPLES]
    for title, api, text in SECTIONS:
        parts += [f"## {title}\n\n{text}\n", *endpoint_table(api)]
        if title == "Controller":
            parts += _without_meaning()
    return "".join(parts).rstrip() + "\n"


def _without_meaning() -> Iterator[str]:
    yield "These paths of ASSIST-IoT have no meaning in fedbus, and are answered with 501:\n\n"
    yield "| path | why, and what to use instead |\n|---|---|\n"
    for path, why in NO_MEANING.items():
        yield f"| `{path}` | {why} |\n"
    yield "\n"
