#!/bin/bash
# Installs what clients.sh needs: Debian packages by apt, the redis-py, node-redis and ioredis libraries under target/clients.
# What can't be had makes it fail: a check that did not run is no check that passed.
set -euo pipefail
cd "$(dirname "$0")/../../.."
REDIS_PY=redis==5.3.1
PYMEMCACHE=pymemcache==4.0.0
NODE_REDIS=redis@5.9.0
IOREDIS=ioredis@6.0.0
home=target/clients

# A program, and the Debian package that brings it.
needed=(redis-cli:redis-tools redis-benchmark:redis-tools redis-server:redis-server python3:python3 node:nodejs npm:npm)
missing=()
for pair in "${needed[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
# Debian's python3 comes without venv.
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing: ${missing[*]}; install them, or run this as root" >&2
        exit 1
    fi
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
fi

mkdir -p "$home"
if [ ! -e "$home/$REDIS_PY" ]; then
    python3 -m venv --clear "$home/venv"
    "$home/venv/bin/pip" install --quiet --disable-pip-version-check "$REDIS_PY"
    touch "$home/$REDIS_PY"
fi
if [ ! -e "$home/$PYMEMCACHE" ] || [ "$home/$REDIS_PY" -nt "$home/$PYMEMCACHE" ]; then
    "$home/venv/bin/pip" install --quiet --disable-pip-version-check "$PYMEMCACHE"
    touch "$home/$PYMEMCACHE"
fi
for library in "$NODE_REDIS" "$IOREDIS"; do
    if [ ! -e "$home/$library" ]; then
        npm install --prefix "$home/node" --no-audit --no-fund --loglevel=error "$library"
        touch "$home/$library"
    fi
done
echo "clients are there: $REDIS_PY, $PYMEMCACHE, $NODE_REDIS, $IOREDIS, $(redis-cli --version)"
