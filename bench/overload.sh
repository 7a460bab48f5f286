#!/usr/bin/env bash
# Overload: a service whose capacity is waiting, offered three times that by clients that give up and try again, then 0.8 times; behind the
# gateway, behind Nginx, and behind HAProxy twice: as usually set, and told the service's capacity.
#
#   SECONDS_OVER=60 bash bench/overload.sh
#   SLOTS=20 SERVICE_MS=40 OVER=3 NGINX=path HAPROXY=path ONLY="tidegate nginx haproxy haproxy-told"
#
# The service has SLOTS slots of SERVICE_MS each and an endless queue, and works on what its client has given up too. What it really
# does in a second is measured first. Goodput is what was answered with 200 within the clients' second, beside that capacity; p99 is of
# the tries that were answered so, beside that at half the capacity.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
SLOTS=${SLOTS:-20} SERVICE_MS=${SERVICE_MS:-40} OVER=${OVER:-3} SECONDS_OVER=${SECONDS_OVER:-60} SECONDS_AFTER=${SECONDS_AFTER:-20}
RETRIES=${RETRIES:-2} TIMEOUT_MS=${TIMEOUT_MS:-1000} ONLY=${ONLY:-tidegate nginx haproxy haproxy-told}
NGINX=${NGINX:-/usr/sbin/nginx} HAPROXY=${HAPROXY:-/usr/sbin/haproxy} BENCH=${BENCH:-target/release/bench}
need curl python3
for program in "$NGINX" "$HAPROXY"; do command -v "$program" >/dev/null || die "$program is missing (Debian: nginx haproxy)"; done
[ -x "$BENCH" ] || cargo build --release -q -p bench
ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" -ge 20000 ] || die "20,000 open files are needed"

up() { taskset -c "$SERVER_CPU" "$@" >>"$work/log" 2>&1 </dev/null & started_pid=$!; pids+=("$started_pid"); }
down() { kill "$started_pid" 2>/dev/null || true; wait "$started_pid" 2>/dev/null || true; }
serves() {
    local tries
    for ((tries = 0; tries < 1000; tries++)); do curl -sf -o /dev/null "http://127.0.0.1:$1/" && return; sleep 0.01; done
    cat "$work/log" >&2
    die "nobody answers on port $1"
}

# A service of its own for each: nobody is to find another's queue.
upstream_up() {
    free_port; upstream=$last_port
    mkfifo "$work/stdin-$upstream"
    taskset -c "$CLIENT_CPU" "$BENCH" upstream --slots "$SLOTS" --service-ms "$SERVICE_MS" --port "$upstream" \
        <"$work/stdin-$upstream" >>"$work/log" 2>&1 &
    exec 8>"$work/stdin-$upstream"
    serves "$upstream"
}
load() { taskset -c "$CLIENT_CPU" "$BENCH" load --target "127.0.0.1:$1" --phases "$2" --timeout-ms "$TIMEOUT_MS" --retries "${3:-0}"; }

tidegate_up() {
    cat >"$work/gateway.toml" <<T
[gateway]
listen = "127.0.0.1:$1"
admin = "127.0.0.1:0"
lanes = 1
[limits]
connections = 9900
[service.app]
endpoints = ["127.0.0.1:$upstream"]
[[route]]
service = "app"
T
    up "$TIDEGATE" gateway --config "$work/gateway.toml"
}
nginx_up() {
    cat >"$work/nginx.conf" <<N
pid $work/nginx.pid; error_log /dev/null crit; daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 60000;
events { worker_connections 30000; }
http { access_log off; client_body_temp_path $work/n1; proxy_temp_path $work/n2; fastcgi_temp_path $work/n3; uwsgi_temp_path $work/n4;
scgi_temp_path $work/n5; upstream u { server 127.0.0.1:$upstream; keepalive 256; }
server { listen 127.0.0.1:$1 backlog=4096; location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; } } }
N
    up "$NGINX" -p "$work" -c "$work/nginx.conf"
}
haproxy_up() {
    cat >"$work/haproxy.cfg" <<H
global
  nbthread 1
  maxconn 9900
defaults
  mode http
  timeout connect 5s
  timeout client 50s
  timeout server 50s
  ${3:-}
  http-reuse safe
frontend f
  bind 127.0.0.1:$1 backlog 4096
  default_backend b
backend b
  server s1 127.0.0.1:$upstream ${2:-}
H
    up "$HAPROXY" -db -f "$work/haproxy.cfg"
}
haproxy-told_up() { haproxy_up "$1" "maxconn $SLOTS" "timeout queue 100ms"; }

# What the service really does: offered far more than it can, by clients that wait.
upstream_up
TIMEOUT_MS=20000 load "$upstream" "$(python3 -c "print($SLOTS * 1000 / $SERVICE_MS * 1.3)")x10" >"$work/full"
# Second by second, without those in which its queue began.
capacity=$(sed -n 's/^second=[3-9] .* good_per_s=\([0-9.]*\).*/\1/p' "$work/full" | awk '{ sum += $1 } END { print sum / NR }')
exec 8>&-
half=$(python3 -c "print($capacity * 0.5)") over=$(python3 -c "print($capacity * $OVER)") after=$(python3 -c "print($capacity * 0.8)")
echo "capacity $capacity/s ($SLOTS slots of $SERVICE_MS ms); calm at half of it, then $OVER times for $SECONDS_OVER s with $RETRIES retries, then 0.8 times"
for system in $ONLY; do
    upstream_up
    free_port; port=$last_port
    "${system}_up" "$port"
    serves "$port"
    load "$port" "${half}x10" >"$work/calm"
    load "$port" "${over}x$SECONDS_OVER,${after}x$SECONDS_AFTER" "$RETRIES" >"$work/$system"
    python3 - "$system" "$work/calm" "$work/$system" "$capacity" <<'P'
import re, sys
system, calm, run, capacity = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
def rows(path, kind):
    lines = [line for line in open(path) if line.startswith(kind)]
    return [{key: float(value) for key, value in re.findall(r'(\w+)=([\d.]+)', line)} for line in lines]
calm_p99 = rows(calm, 'phase=')[0]['p99_us'] / 1e3
during, behind = rows(run, 'phase=')
seconds = [row for row in rows(run, 'second=') if row['phase'] == 1]
# Recovered: from this second on nearly all that was tried was answered, about as fast as without load.
def failed(row):
    return sum(row[what] for what in ('shed_per_s', 'refused_per_s', 'timed_out_per_s', 'broken_per_s'))
good = [failed(row) <= 0.02 * row['tries_per_s'] and row['p99_us'] / 1e3 <= 3 * calm_p99 for row in seconds]
first = next((at for at in range(len(good)) if all(good[at:])), None)
recovered = 'never' if first is None else f'after {first} s'
print(f"{system:13} goodput {during['good_per_s'] / capacity:.3f} of capacity, p99 of those {during['p99_us'] / 1e3:.1f} ms "
      f"({during['p99_us'] / 1e3 / calm_p99:.2f}x of {calm_p99:.1f} calm), shed {during['shed_per_s']:.0f}/s, gave up {during['timed_out_per_s']:.0f}/s, "
      f"errors {during['refused_per_s'] + during['broken_per_s']:.0f}/s; at 0.8: {behind['good_per_s'] / behind['offered_per_s']:.3f}, recovered {recovered}")
P
    down
    exec 8>&-
done
