#!/usr/bin/env bash
# What the tests need beside Python packages: a Chromium. Installs it where we may, else says what is missing.
set -euo pipefail
if command -v chromium >/dev/null; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
    exit 0
fi
echo "The tests drive a real browser. Install Chromium (Debian: apt-get install chromium) and run make test again." >&2
exit 1
