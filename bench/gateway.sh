#!/usr/bin/env bash
# What one request costs the gateway beside Nginx and HAProxy: HTTP/1.1 with connections kept alive on both sides, one worker or lane each,
# the same upstream (Nginx, which answers from memory) and the same load (wrk), by turns in one run.
#
# Each target runs flat out, which gives CPU per request (of the proxy alone, by /proc) and throughput; p99 is measured apart, with so few
# connections that none of them is saturated, and at the same rate of all (RATE a second, come what may). The gateway has a fixed limit: its adaptive one sheds where the others let all in.
#
#   RUNS=5 DUR=5 CONNS=64 bash bench/gateway.sh
#   NGINX=path HAPROXY=path WRK=path where they aren't installed (Debian: nginx haproxy wrk nghttp2-client openssl)
#
# Then the same with TLS to the client, by HTTP/1.1 and by HTTP/2 (128 bytes, Nginx beside it), and what an idle connection takes in memory:
# IDLE of them, each after one request.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
RUNS=${RUNS:-5} DUR=${DUR:-5} CONNS=${CONNS:-64} CALM=${CALM:-4}
NGINX=${NGINX:-/usr/sbin/nginx} HAPROXY=${HAPROXY:-/usr/sbin/haproxy} WRK=${WRK:-wrk}
IDLE=${IDLE:-4000} RATE=${RATE:-4000} BENCH=${BENCH:-target/release/bench} H2LOAD=${H2LOAD:-h2load}
need curl awk openssl python3
[ -x "$BENCH" ] || cargo build --release -q -p bench
for program in "$NGINX" "$HAPROXY" "$WRK" "$H2LOAD"; do
    command -v "$program" >/dev/null || die "$program is missing (Debian: nginx haproxy wrk nghttp2-client)"
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
    echo "pid $work/$1.pid; error_log /dev/null crit; daemon off; master_process off; worker_processes 1; events { worker_connections 16384; }
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

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
free_port; nginx_tls=$last_port
free_port; nginx_port=$last_port
nginx_common px "upstream u { server 127.0.0.1:$upstream; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 1h; }
server { listen 127.0.0.1:$nginx_port; listen 127.0.0.1:$nginx_tls ssl http2; ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem;
location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\";
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

free_port; tidegate_tls=$last_port
free_port; tidegate_port=$last_port
cat >"$work/gateway.toml" <<T
[gateway]
listen = "127.0.0.1:$tidegate_port"
admin = "127.0.0.1:0"
lanes = 1
forwarded = "x-forwarded"
[limits]
connections = 12000
[[listener]]
address = "127.0.0.1:$tidegate_tls"
[listener.tls]
certificates = [{ certificate = "$work/cert.pem", key = "$work/key.pem" }]
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
    for ((i = 0; i < RUNS; i++)); do
        for target in nginx haproxy tidegate; do
            port=${target}_port
            taskset -c "$CLIENT_CPU" "$BENCH" load --quiet --target "127.0.0.1:${!port}" --path "/$body" --phases "${RATE}x$DUR" |
                sed 's/.* p50_us=\([0-9]*\) p99_us=\([0-9]*\) .*/\1 \2/' >>"$work/$target-$body-paced"
        done
    done
    for target in nginx haproxy tidegate; do
        printf '%-9s %-6s at %d/s: p50_us %6.0f  p99_us %6.0f\n' "$target" "$body" "$RATE" "$(median "$work/$target-$body-paced" '$1')" \
            "$(median "$work/$target-$body-paced" '$2')"
    done
done

# secure KIND PORT PID: the same figures as of measure, over TLS.
secure() {
    local before after
    before=$(cpu_us "$3")
    case $1 in
    tls-h1)
        taskset -c "$CLIENT_CPU" "$WRK" -t1 -c"$CONNS" -d"${DUR}s" "https://127.0.0.1:$2/small" >"$work/out"
        count=$(awk '/requests in/ { print $1 }' "$work/out") ;;
    tls-h2)
        taskset -c "$CLIENT_CPU" "$H2LOAD" -D "$DUR" -c "$CONNS" -m 4 "https://127.0.0.1:$2/small" >"$work/out" 2>&1
        count=$(awk '/^requests:/ { print $8 }' "$work/out") ;;
    esac
    after=$(cpu_us "$3")
    awk -v cpu="$after" -v before="$before" -v count="$count" -v dur="$DUR" 'BEGIN { print count / dur, (cpu - before) / count }'
}
for kind in tls-h1 tls-h2; do
    for ((i = 0; i < RUNS; i++)); do
        secure "$kind" "$nginx_tls" "$nginx_pid" >>"$work/nginx-$kind"
        secure "$kind" "$tidegate_tls" "$tidegate_pid" >>"$work/tidegate-$kind"
    done
    for target in nginx tidegate; do
        printf '%-9s %-6s req/s %8.0f  cpu_us %6.2f\n' "$target" "$kind" "$(median "$work/$target-$kind" '$1')" "$(median "$work/$target-$kind" '$2')"
    done
    awk -v n="$(median "$work/nginx-$kind" '$2')" -v t="$(median "$work/tidegate-$kind" '$2')" -v k="$kind" \
        'BEGIN { printf "%s: CPU per request %.2f times that of Nginx\n", k, t / n }'
done

# What idle connections take: of clear ones and of those with TLS.
ulimit -n "$(ulimit -Hn)"
python3 - "$IDLE" "$nginx_pid:$nginx_port:$nginx_tls:nginx" "$tidegate_pid:$tidegate_port:$tidegate_tls:tidegate" <<'P'
import socket, ssl, sys
count = int(sys.argv[1])
def resident(pid):
    return next(int(line.split()[1]) for line in open(f'/proc/{pid}/status') if line.startswith('VmRSS')) * 1024
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
for target in sys.argv[2:]:
    pid, clear, secure, name = target.split(':')
    # Those of the first kind stay while the others come: what they gave back would be used again.
    kept = []
    for kind, port in ('clear', clear), ('tls', secure):
        before, held = resident(pid), []
        for _ in range(count):
            one = socket.create_connection(('127.0.0.1', int(port)))
            if kind == 'tls':
                one = context.wrap_socket(one)
            one.sendall(b'GET /small HTTP/1.1\r\nHost: a\r\n\r\n')
            got = b''
            while len(got) < 128 or b'\r\n\r\n' not in got or len(got.split(b'\r\n\r\n', 1)[1]) < 128:
                got += one.recv(65536)
            held.append(one)
        print(f'{name:9} {kind:6} {(resident(pid) - before) / count:8.0f} bytes for an idle connection, of {count}')
        kept.append(held)
P
