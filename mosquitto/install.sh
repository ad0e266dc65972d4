#!/usr/bin/env bash
# Install Mosquitto and its command-line clients from the system's packages, if they are not here yet.
# Without an argument: does nothing when they are; never leaves the system's own broker on port 1883.
set -euo pipefail

PATH="$PATH:/usr/sbin:/usr/local/sbin:/sbin:/opt/homebrew/sbin"

missing=()
command -v mosquitto >/dev/null || missing+=(mosquitto)
command -v mosquitto_rr >/dev/null || missing+=(mosquitto-clients)
((${#missing[@]})) || exit 0

give_up() {
    if command -v mosquitto >/dev/null; then
        echo "mosquitto_pub and mosquitto_rr are missing: $1; a few tests will be skipped." >&2
        exit 0
    fi
    echo "fedbus needs the MQTT broker Mosquitto (2.0 or newer), and $1." >&2
    echo "Install it, then repeat: 'sudo apt install mosquitto mosquitto-clients' (Debian, Ubuntu)," >&2
    echo "'sudo dnf install mosquitto' (Fedora), 'brew install mosquitto' (macOS); or see mosquitto.org." >&2
    exit 1
}

command -v apt-get >/dev/null || give_up "this system has no apt-get to get it with"
as_root=()
if ((EUID != 0)); then
    command -v sudo >/dev/null && sudo -n true 2>/dev/null || give_up "installing it needs root, or sudo without a password"
    as_root=(sudo -n)
fi

install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Installing ${missing[*]} …"
if ! { install || { "${as_root[@]}" apt-get update -qq && install; }; } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    give_up "apt-get could not install it (its last words are above)"
fi

# The package starts a broker of its own on port 1883. We start ours where we need them, so it may go.
if [[ " ${missing[*]} " == *" mosquitto "* ]]; then
    if [[ -d /run/systemd/system ]]; then
        "${as_root[@]}" systemctl disable --quiet --now mosquitto || true
    elif [[ -x /etc/init.d/mosquitto ]]; then
        "${as_root[@]}" /etc/init.d/mosquitto stop >/dev/null 2>&1 || true
    fi
    echo "Installed $(mosquitto -h | head -n 1); its system service is switched off, so that port 1883 stays free."
fi
