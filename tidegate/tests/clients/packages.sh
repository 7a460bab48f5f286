#!/bin/bash
# Installs Debian packages whose programs aren't there. Usage: packages.sh PROGRAM:PACKAGE.. [PACKAGE..]; what stands alone is always missing.
# What can't be had makes it fail: a check that did not run is no check that passed.
set -euo pipefail
missing=()
for pair; do
    if [ "${pair#*:}" = "$pair" ] || ! command -v "${pair%%:*}" >/dev/null; then missing+=("${pair#*:}"); fi
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "missing: ${missing[*]}; install them, or run this as root" >&2
    exit 1
fi
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
