#!/usr/bin/env bash
# A body of 5 GB down and up through the gateway, for each pair of protocols: that it comes whole, how fast, and the most memory that the
# process ever had (VmHWM). Each pair has a process of its own, so that its peak is its own.
#
# Nginx is the endpoint: it has the body as a hole in a file, and passes uploads on unbuffered to a sink that counts them.
#
#   GB=5 MOST_MB=64 bash bench/gateway-stream.sh
#   ONLY="h1-h1 h2-h2tls" for some pairs
#   NGINX=path where it isn't installed (Debian: nginx curl openssl python3)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
GB=${GB:-5} MOST_MB=${MOST_MB:-64}
NGINX=${NGINX:-/usr/sbin/nginx}
need curl openssl python3 "$NGINX"
bytes=$((GB * 1024 * 1024 * 1024))

run() { taskset -c "$1" "${@:2}" >>"$work/log" 2>&1 </dev/null & started_pid=$!; pids+=("$started_pid"); }

await_port() {
    local tries
    for ((tries = 0; tries < 1000; tries++)); do
        (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        kill -0 "$started_pid" 2>/dev/null || break
        sleep 0.01
    done
    cat "$work/log" >&2
    die "nobody listens on port $1"
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
    -keyout "$work/key.pem" -out "$work/certificate.pem" 2>/dev/null
mkdir "$work/files"
truncate -s "$bytes" "$work/files/body"

cat >"$work/sink.py" <<'P'
import socket, sys, threading
buffer = bytearray(1 << 20)
def serve(peer):
    head = b""
    while b"\r\n\r\n" not in head:
        head += peer.recv(1)
    left = next(int(line[15:]) for line in head.decode().lower().split("\r\n") if line.startswith("content-length:"))
    total = left
    while left:
        got = peer.recv_into(buffer, min(left, len(buffer)))
        if not got: return
        left -= got
    text = str(total).encode()
    peer.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
    peer.close()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
P
free_port; sink=$last_port
run "$CLIENT_CPU" python3 "$work/sink.py" "$sink"
await_port "$sink"

free_port; clear=$last_port; free_port; h2c=$last_port; free_port; secure=$last_port
cat >"$work/nginx.conf" <<N
pid $work/nginx.pid; error_log /dev/null crit; daemon off; master_process off; worker_processes 1; events { worker_connections 512; }
http { access_log off; client_max_body_size 0; client_body_temp_path $work/cb; proxy_temp_path $work/pt; fastcgi_temp_path $work/ft;
uwsgi_temp_path $work/ut; scgi_temp_path $work/st; ssl_certificate $work/certificate.pem; ssl_certificate_key $work/key.pem;
server { listen 127.0.0.1:$clear; listen 127.0.0.1:$h2c http2; listen 127.0.0.1:$secure ssl http2; root $work/files;
location /up { proxy_pass http://127.0.0.1:$sink; proxy_http_version 1.1; proxy_request_buffering off; } } }
N
run "$CLIENT_CPU" "$NGINX" -p "$work" -c "$work/nginx.conf"
await_port "$secure"

# pass NAME ENDPOINT-PORT "KEYS OF THE SERVICE" SCHEME CURL-WORDS..: one pair of protocols, both ways.
pass() {
    local name=$1 endpoint=$2 keys=$3 scheme=$4 port tls="" got peak seconds
    shift 4
    [[ " ${ONLY:-$name} " == *" $name "* ]] || return 0
    free_port; port=$last_port
    [ "$scheme" = https ] && tls="tls = { certificates = [{ certificate = \"$work/certificate.pem\", key = \"$work/key.pem\" }] }"
    cat >"$work/gateway.toml" <<T
[gateway]
admin = "127.0.0.1:0"
lanes = 1
[[listener]]
address = "127.0.0.1:$port"
$tls
[service.app]
endpoints = ["127.0.0.1:$endpoint"]
$keys
[[route]]
service = "app"
T
    run "$SERVER_CPU" "$TIDEGATE" gateway --config "$work/gateway.toml"
    await_port "$port"
    for way in down up; do
        if [ "$way" = down ]; then
            got=$(taskset -c "$CLIENT_CPU" curl -s "$@" --cacert "$work/certificate.pem" -o /dev/null \
                -w '%{http_code} %{size_download} %{time_total}' "$scheme://localhost:$port/body")
        else
            got=$(taskset -c "$CLIENT_CPU" curl -s "$@" --cacert "$work/certificate.pem" -T "$work/files/body" -H 'Expect:' \
                -w '  %{http_code} %{size_upload} %{time_total}' "$scheme://localhost:$port/up")
            got=${got#*  }
        fi
        peak=$(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$started_pid/status")
        read -r status passed seconds <<<"$got"
        printf '%-10s %-4s status %s  bytes %s  MB/s %5.0f  VmHWM %d MB\n' "$name" "$way" "$status" "$passed" \
            "$(awk "BEGIN { print $passed / 1e6 / $seconds }")" "$peak"
        [ "$status" = 200 ] && [ "$passed" = "$bytes" ] || die "$name $way: $got instead of 200 $bytes"
        [ "$peak" -le "$MOST_MB" ] || die "$name $way took $peak MB, more than $MOST_MB"
    done
    kill -KILL "$started_pid"
}

trust="tls = { ca = \"$work/certificate.pem\", server_name = \"localhost\" }"
pass h1-h1 "$clear" "" http --http1.1
pass h1-tls "$secure" "$trust" http --http1.1
pass h1-h2 "$h2c" 'protocol = "h2"' http --http1.1
pass h1-h2tls "$secure" "$trust"$'\nprotocol = "h2"' http --http1.1
pass tls-tls "$secure" "$trust" https --http1.1
if [ "${H2_CLIENTS:-1}" = 1 ]; then
    pass h2-h1 "$clear" "" https --http2
    pass h2-h2tls "$secure" "$trust"$'\nprotocol = "h2"' https --http2
fi
