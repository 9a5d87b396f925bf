#!/usr/bin/env bash
# Sees to what the tests and the demo need besides Rust: a C linker, a JDK (17 or newer), Maven, Python with venv.
# As root on Debian or Ubuntu it installs what is missing; otherwise it prints the command and ends with an error.
# `setup.sh acceptance` sees to what the long proofs need as well: a browser and promtool for those of the status page and of the
# alerts, iptables and ss for those that cut connections.
# The servers' jars are fetched by the tests themselves, on first use, into ${TESTBED_CACHE:-~/.cache/evenkeel}.
set -euo pipefail

missing=()

command -v cc >/dev/null || missing+=(gcc libc6-dev)

# The compiler's version: a JRE alone can't build the client programs.
jdk=0
if command -v java >/dev/null && command -v javac >/dev/null; then
    jdk="$(javac -version 2>&1 | sed -nE 's/^javac ([0-9]+).*/\1/p')"
fi
if [ "${jdk:-0}" -lt 17 ]; then
    # Debian 12 has 17, Debian 13 has 21, Ubuntu 24.04 has both.
    missing+=(default-jdk-headless)
fi

command -v mvn >/dev/null || missing+=(maven)

# ensurepip is what Debian leaves out of Python's own package.
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)

if [ "${1-}" = acceptance ]; then
    command -v promtool >/dev/null || missing+=(prometheus)
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
    # Who may not use a packet filter doesn't have it on the path either.
    PATH="$PATH:/usr/sbin:/sbin" command -v iptables >/dev/null || missing+=(iptables)
    command -v ss >/dev/null || missing+=(iproute2)
fi

if ! command -v cargo >/dev/null; then
    echo "setup: Rust is missing: see https://rustup.rs (1.88 or newer)" >&2
    exit 1
fi

if [ "${#missing[@]}" -eq 0 ]; then
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    echo "setup: missing, and this is neither Debian nor Ubuntu: ${missing[*]} (Debian's names of the packages)" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "setup: something is missing. Run this, then try again:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

# An older JDK may still be the one that PATH finds.
jdk="$(javac -version 2>&1 | sed -nE 's/^javac ([0-9]+).*/\1/p')"
if [ "${jdk:-0}" -lt 17 ]; then
    echo "setup: javac on PATH is version ${jdk:-unknown}; 17 or newer is needed (update-alternatives --config javac)" >&2
    exit 1
fi
