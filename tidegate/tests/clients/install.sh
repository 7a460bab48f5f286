#!/bin/bash
# Installs what clients.sh and frameworks.sh need: Debian packages by apt, libraries and job frameworks under target/clients.
# What can't be had makes it fail: a check that did not run is no check that passed.
set -euo pipefail
cd "$(dirname "$0")/../../.."
REDIS_PY=redis==5.3.1
PYMEMCACHE=pymemcache==4.0.0
REDLOCK_PY=redlock-py==1.0.8
NODE_REDIS=redis@5.9.0
IOREDIS=ioredis@6.0.0
# What frameworks.sh runs, with the versions of the libraries that they are tested with.
JOBS_PY=("celery[redis]==5.7.0" kombu==5.7.0 rq==3.0.0 redis==8.1.0)
JOBS_JS=(bullmq@5.81.5 ioredis@5.11.1 redis@5.9.0 express@5.3.0 express-session@1.19.0 connect-redis@9.0.0
    rate-limiter-flexible@11.4.0 redlock@5.0.0-beta.2)
home=target/clients

# A program, and the Debian package that brings it.
needed=(redis-cli:redis-tools redis-benchmark:redis-tools redis-server:redis-server python3:python3 node:nodejs npm:npm curl:curl jq:jq)
# Debian's python3 comes without venv.
python3 -c 'import ensurepip, venv' 2>/dev/null || needed+=(python3-venv)
tidegate/tests/clients/packages.sh "${needed[@]}"

# python FOLDER PACKAGE..: a virtual environment with exactly these, made anew when the list changes.
python() {
    local folder=$home/$1
    shift
    if [ "$(cat "$folder/installed" 2>/dev/null)" != "$*" ]; then
        python3 -m venv --clear "$folder"
        "$folder/bin/pip" install --quiet --disable-pip-version-check "$@"
        echo "$*" >"$folder/installed"
    fi
}

# node FOLDER PACKAGE..: the same for Node.js.
node() {
    local folder=$home/$1
    shift
    if [ "$(cat "$folder/installed" 2>/dev/null)" != "$*" ]; then
        rm -rf "$folder"
        npm install --prefix "$folder" --no-audit --no-fund --loglevel=error "$@"
        echo "$*" >"$folder/installed"
    fi
}

mkdir -p "$home"
python venv "$REDIS_PY" "$PYMEMCACHE" "$REDLOCK_PY"
node node "$NODE_REDIS" "$IOREDIS"
if [ "${1:-}" = frameworks ]; then
    python jobs-venv "${JOBS_PY[@]}"
    node jobs-node "${JOBS_JS[@]}"
    echo "frameworks are there: ${JOBS_PY[*]}, ${JOBS_JS[*]}"
fi
echo "clients are there: $REDIS_PY, $PYMEMCACHE, $REDLOCK_PY, $NODE_REDIS, $IOREDIS, $(redis-cli --version)"
