#!/usr/bin/env bash
# Bring compose.yaml up for real, kill an agent and the collectors in the middle of a job, and look at what
# happens. Needs Docker with Compose v2, and some minutes; so it is no part of `make test`.
#
#   tests/system/compose_check.sh [--keep]      --keep: leave it running at the end
#
# It uses a project and a port of its own (FEDBUS_PORT, 18830), so a running fedbus is left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export COMPOSE_PROJECT_NAME=fedbus-check FEDBUS_PORT=${FEDBUS_PORT:-18830}
keep=${1:-}
log=$(mktemp)

step() { printf '%4d s  %s\n' "$SECONDS" "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
quietly() { "$@" >"$log" 2>&1 || { tail -n 30 "$log" >&2; fail "$*"; }; }
cli() { docker compose run --rm -T cli "$@" 2>"$log" || { tail -n 5 "$log" >&2; fail "$*"; }; }
state() { docker compose exec -T broker mosquitto_sub -V 5 -u user.me -P "$password" -t "fedbus/v1/jobs/$1/state" -C 1 -W 20; }
number() { grep -o "\"$1\": *[0-9]*" | grep -o '[0-9]*$'; }
online() { cli fedbus agents --json | tr -d ' \n' | grep -o '"node":"agent\.[0-9]*"[^{]*"online":true' | sort -u | wc -l; }
containers() { docker compose ps -q "$1"; }
above_base() { # bytes of an image above its base: its size, less the base's
    echo $(($(docker image inspect -f '{{.Size}}' "$1") - $(docker image inspect -f '{{.Size}}' "python:${PYTHON:-3.11}-slim-bookworm")))
}
await() { # seconds, words, a command that is true at last
    local until=$((SECONDS + $1)) words=$2
    shift 2
    until "$@" 2>/dev/null; do
        ((SECONDS < until)) || fail "$words: not within the time"
        sleep 1
    done
}
round_is() { (($(state "$1" | number round) >= $2)); }
ended() { state "$1" | grep -qE '"phase": *"(finished|failed|cancelled)"'; }

end() {
    local code=$?
    ((code == 0)) || docker compose logs --tail 15 >&2 || true
    if [[ $keep != --keep ]]; then
        docker compose --profile cli down --volumes --timeout 5 >"$log" 2>&1 || code=1
        local left
        left=$(docker ps -aq --filter label=com.docker.compose.project=fedbus-check
            docker volume ls -q --filter label=com.docker.compose.project=fedbus-check
            docker network ls -q --filter label=com.docker.compose.project=fedbus-check)
        [[ -z $left ]] && step "down: nothing is left" || { echo "left behind: $left" >&2; code=1; }
    fi
    rm -f "$log"
    exit "$code"
}
trap end EXIT

quietly docker compose build
step "built"
quietly docker compose up --wait --wait-timeout 300
step "up: all healthy"

for service in controller collector repository inference edge_agent tools; do
    image=fedbus-${service/_/-}
    user=$(docker image inspect -f '{{.Config.User}}' "$image")
    [[ $user == fedbus ]] || fail "$image runs as '$user'"
    printf '        %-18s %4d MB above its base\n' "$image" $(($(above_base "$image") / 1000000))
done
(($(above_base fedbus-edge-agent) <= 130000000)) || fail "an agent's image is more than 130 MB above its base"
[[ $(docker compose port broker 1883) == "127.0.0.1:$FEDBUS_PORT" ]] || fail "the broker is published elsewhere"

docker compose exec -T edge_agent python - <<'PYTHON' || fail "an agent reaches more than the broker, or writes where it should not"
import os, socket
def reached(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True
assert reached("broker", 1883)
assert not reached("repository", 8080) and not reached("1.1.1.1", 443)
assert os.getuid() and not os.access("/opt/fedbus", os.W_OK) and not os.access("/agents", os.W_OK)
PYTHON
step "an agent reaches the broker and nobody else"

quietly docker compose up -d --wait --wait-timeout 300 --scale edge_agent=5
(($(online) == 5)) || fail "$(online) agents are online instead of 5"
step "five agents, each with a name of its own"

password=$(cli cat /users/me/password)
docker compose exec -T broker mosquitto_pub -V 5 -t fedbus/v1/submit -m '{}' >"$log" 2>&1 && fail "anybody may log in"
cli fedbus job submit /dev/stdin <<'JSON'
{"training_id": "check-1", "model_name": "digits", "model_version": "v1", "num_rounds": 10,
 "eval_metrics": ["accuracy"], "eval_func": "categorical_crossentropy",
 "config": [{"config_id": "default", "batch_size": 16, "epochs": 40, "learning_rate": 0.1}],
 "optimizer_config": {"optimizer": "sgd"}, "privacy-mechanisms": {},
 "round": {"agents": 5, "quorum": 3, "deadline_seconds": 60}}
JSON
await 120 "two rounds" round_is check-1 2
agent=$(containers edge_agent | head -n 1) collector=$(containers collector | head -n 1)
docker kill -s KILL "$agent" "$collector" >"$log"
step "killed an agent and a collector in round $(state check-1 | number round); Docker starts neither again"
await 180 "two more rounds" round_is check-1 5
(($(containers collector | wc -l) == 1)) || fail "a collector that was killed by hand is back"
docker compose exec -T collector sh -c 'kill -9 -1'
step "the other collector died in round $(state check-1 | number round); Docker starts it again"
await 240 "the job's end" ended check-1
state check-1 | grep -q '"phase": *"finished"' || fail "the job: $(state check-1)"
step "the job finished: $(state check-1 | grep -o '"metrics": *{[^}]*}')"

quietly docker compose up -d --wait --wait-timeout 300 --scale edge_agent=5
(($(online) == 5)) || fail "$(online) agents are back instead of 5"
latest=$(cli fedbus models show digits --json | number version | head -n 1)
((latest >= 11)) || fail "the model is at version $latest: was it taken back?"
step "up again: five agents, the model still at version $latest"

cli sh -c "python -c 'import json; from sklearn.datasets import load_digits as d; print(json.dumps((d().data[:1] / 16).tolist()))' >/tmp/zero.json && fedbus infer digits /tmp/zero.json" >"$log"
sed 's/^/        /' "$log"
answer=$(docker compose exec -T broker mosquitto_rr -V 5 -u user.me -P "$password" -t fedbus/v1/inference/digits/request \
    -e fedbus/v1/replies/me -W 10 -m "{\"inputs\": [[$(printf '0,%.0s' {1..63})0]]}")
grep -q "\"version\": *$latest" <<<"$answer" || fail "the inference service answers $answer"
step "the inference service answers the command and a foreign client"
