#!/usr/bin/env bash
# What one request costs the gateway beside Nginx and HAProxy: HTTP/1.1 with connections kept alive on both sides, one worker or lane each,
# the same upstream (Nginx, which answers from memory) and the same load (wrk), by turns in one run.
#
# Each target runs flat out, which gives CPU per request (of the proxy alone, by /proc) and throughput; p99 is measured apart, with so few
# connections that none of them is saturated. The gateway has a fixed limit: its adaptive one sheds where the others let all in.
#
#   RUNS=5 DUR=5 CONNS=64 bash bench/gateway.sh
#   NGINX=path HAPROXY=path WRK=path where they aren't installed (Debian: nginx haproxy wrk)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
RUNS=${RUNS:-5} DUR=${DUR:-5} CONNS=${CONNS:-64} CALM=${CALM:-4}
NGINX=${NGINX:-/usr/sbin/nginx} HAPROXY=${HAPROXY:-/usr/sbin/haproxy} WRK=${WRK:-wrk}
need curl awk
for program in "$NGINX" "$HAPROXY" "$WRK"; do
    command -v "$program" >/dev/null || die "$program is missing (Debian: nginx haproxy wrk)"
done

# What the process has used of its CPU, in microseconds.
cpu_us() { awk -v tick="$(getconf CLK_TCK)" '{ sub(/^.*\) /, ""); print ($12 + $13) * 1000000 / tick }' "/proc/$1/stat"; }

run() { taskset -c "$SERVER_CPU" "$@" >>"$work/log" 2>&1 </dev/null & started_pid=$!; pids+=("$started_pid"); }

await_http() {
    local tries
    for ((tries = 0; tries < 1000; tries++)); do
        curl -sf -o /dev/null "http://127.0.0.1:$1/small" && return
        kill -0 "$started_pid" 2>/dev/null || break
        sleep 0.01
    done
    cat "$work/log" >&2
    die "nobody answers on port $1"
}

nginx_common() {
    echo "pid $work/$1.pid; error_log /dev/null crit; daemon off; master_process off; worker_processes 1; events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; client_body_temp_path $work/$1-cb; proxy_temp_path $work/$1-pt;
fastcgi_temp_path $work/$1-ft; uwsgi_temp_path $work/$1-ut; scgi_temp_path $work/$1-st; default_type text/plain; $2 }"
}

mkdir "$work/files"
head -c 128 /dev/zero | tr '\0' x >"$work/files/small"
head -c 16384 /dev/zero | tr '\0' x >"$work/files/large"

free_port; upstream=$last_port
nginx_common up "server { listen 127.0.0.1:$upstream; root $work/files; open_file_cache max=10; open_file_cache_valid 1h; }" >"$work/up.conf"
SERVER_CPU=$CLIENT_CPU run "$NGINX" -p "$work" -c "$work/up.conf"
await_http "$upstream"

free_port; nginx_port=$last_port
nginx_common px "upstream u { server 127.0.0.1:$upstream; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 1h; }
server { listen 127.0.0.1:$nginx_port; location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\";
proxy_set_header Host \$host; proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto \$scheme; } }" >"$work/px.conf"
run "$NGINX" -p "$work" -c "$work/px.conf"; nginx_pid=$started_pid
await_http "$nginx_port"

free_port; haproxy_port=$last_port
cat >"$work/h.cfg" <<H
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
  option forwardfor
frontend f
  bind 127.0.0.1:$haproxy_port
  default_backend b
backend b
  server s1 127.0.0.1:$upstream
H
run "$HAPROXY" -db -f "$work/h.cfg"; haproxy_pid=$started_pid
await_http "$haproxy_port"

free_port; tidegate_port=$last_port
cat >"$work/gateway.toml" <<T
[gateway]
listen = "127.0.0.1:$tidegate_port"
admin = "127.0.0.1:0"
lanes = 1
forwarded = "x-forwarded"
[service.app]
endpoints = ["127.0.0.1:$upstream"]
admission = { limit = 10000 }
[[route]]
service = "app"
T
run "$TIDEGATE" gateway --config "$work/gateway.toml"; tidegate_pid=$started_pid
await_http "$tidegate_port"

# measure PORT PID PATH: one line, "requests/s CPU-us-per-request p99-us errors", p99 at CALM connections.
measure() {
    local before after out calm
    before=$(cpu_us "$2")
    out=$(taskset -c "$CLIENT_CPU" "$WRK" -t1 -c"$CONNS" -d"${DUR}s" "http://127.0.0.1:$1/$3")
    after=$(cpu_us "$2")
    calm=$(taskset -c "$CLIENT_CPU" "$WRK" -t1 -c"$CALM" -d"${DUR}s" --latency "http://127.0.0.1:$1/$3")
    printf '%s\n@\n%s\n' "$out" "$calm" | awk -v cpu="$(awk "BEGIN { print $after - $before }")" '
        function us(text) { return text ~ /us$/ ? text + 0 : text ~ /ms$/ ? text * 1000 : text * 1000000 }
        /^@/ { calm = 1 }
        !calm && /requests in/ { count = $1 }
        !calm && /Requests\/sec/ { rate = $2 }
        calm && $1 == "99%" { p99 = us($2) }
        /Socket errors|Non-2xx/ { errors++ }
        END { print rate, cpu / count, p99, errors + 0 }'
}

echo "CPU per request of the proxy alone, µs; median of $RUNS runs of $DUR s by turns; $CONNS connections; p99 at $CALM connections"
for body in small large; do
    for ((i = 0; i < RUNS; i++)); do
        measure "$nginx_port" "$nginx_pid" "$body" >>"$work/nginx-$body"
        measure "$haproxy_port" "$haproxy_pid" "$body" >>"$work/haproxy-$body"
        measure "$tidegate_port" "$tidegate_pid" "$body" >>"$work/tidegate-$body"
    done
    for target in nginx haproxy tidegate; do
        printf '%-9s %-6s req/s %8.0f  cpu_us %6.2f  p99_us %7.0f  errors %d\n' "$target" "$body" "$(median "$work/$target-$body" '$1')" \
            "$(median "$work/$target-$body" '$2')" "$(median "$work/$target-$body" '$3')" "$(median "$work/$target-$body" '$4')"
    done
    awk -v n="$(median "$work/nginx-$body" '$2')" -v t="$(median "$work/tidegate-$body" '$2')" -v b="$body" \
        'BEGIN { printf "%s: CPU per request %.2f times that of Nginx\n", b, t / n }'
done
