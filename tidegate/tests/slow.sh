#!/bin/bash
# The gateway before clients that take all the time they are given, by slowhttptest: heads, bodies and reading byte by byte, and thousands of
# ranges. Others are served all the while, and who crawls is shown out. slowhttptest is installed if it isn't there; what can't be had makes the script fail.
# Usage: tidegate/tests/slow.sh target/release/tidegate
set -euo pipefail
tidegate=$(realpath "$1")
cd "$(dirname "$0")/../.."
tidegate/tests/clients/packages.sh slowhttptest:slowhttptest openssl:openssl curl:curl python3:python3
work=$(mktemp -d)
pids=()

cleanup() {
    for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
fail() {
    echo "$*" >&2
    [ ! -e "$work/report" ] || tail -n 40 "$work/report" >&2
    tail -n 20 "$work/log" >&2
    exit 1
}
ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" -ge 4000 ] || fail "4,000 open files are needed, there are $(ulimit -n)"

# An endpoint that reads what it is sent, and sends 4 MB: more than what the system takes off the gateway's hands for a client that doesn't read.
cat >"$work/endpoint.py" <<'END'
import http.server
import socket

class Endpoint(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    page = bytes(4 << 20)

    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = self.page if self.path == "/large" else b"ok"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_POST = do_HEAD = do_GET

    def log_message(self, *_):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024

    # So that the system holds little of a page on this side.
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
        super().server_bind()

    # Who goes in the middle of a page is expected here.
    def handle_error(self, *_):
        pass

server = Server(("127.0.0.1", 0), Endpoint)
print(server.server_address[1], flush=True)
server.serve_forever()
END
mkfifo "$work/endpoint" "$work/out"
python3 "$work/endpoint.py" >"$work/endpoint" 2>>"$work/log" &
pids+=($!)
read -r -t 30 endpoint <"$work/endpoint" || fail "the endpoint does not start"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$work/key.pem" -out "$work/certificate.pem" 2>/dev/null
cat >"$work/gateway.toml" <<END
[gateway]
admin = "127.0.0.1:0"
lanes = 1
[limits]
connections = 2000
[timeouts]
header = "3s"
body = "3s"
body_grace = "3s"
download = "3s"
idle = "3s"
[[listener]]
address = "127.0.0.1:0"
[[listener]]
address = "127.0.0.1:0"
[listener.tls]
certificates = [{ certificate = "$work/certificate.pem", key = "$work/key.pem" }]
[service.app]
endpoints = ["127.0.0.1:$endpoint"]
[[route]]
service = "app"
END
"$tidegate" gateway --config "$work/gateway.toml" >"$work/out" 2>>"$work/log" &
gateway=$!
pids+=("$gateway")
exec 3<"$work/out"
read -r -t 30 line <&3 || true
[[ ${line:-} =~ ^ready\ http=([^ ]+)\ https=([^ ]+)\ admin=([^ ]+) ]] || fail "no ready line within 30 s, but: '${line:-}'"
clear=http://${BASH_REMATCH[1]} tls=https://${BASH_REMATCH[2]}

# What one says who looks on: the longest that anybody well-behaved waits, in milliseconds, or that somebody was not served.
look_on() {
    local url=$1 status worst=0 total ms
    while [ -e "$work/goes" ]; do
        read -r status total < <(curl -sk --max-time 5 -o "$work/body" -w '%{http_code} %{time_total}\n' "$url/" || true)
        if [ "$status" != 200 ]; then echo "failed $status $(cat "$work/body")"; return; fi
        ms=$(awk -v s="$total" 'BEGIN { printf "%d", s * 1000 }')
        if [ "$ms" -gt "$worst" ]; then worst=$ms; fi
    done
    echo "$worst"
}

# attack NAME URL CONNECTIONS PER_SECOND SECONDS ENDS OPTIONS..: ENDS says that all connections are ended before its time is over.
attack() {
    local name=$1 url=$2 count=$3 rate=$4 seconds=$5 ends=$6 watcher worst
    shift 6
    touch "$work/goes"
    look_on "${url%/large}" >"$work/worst" &
    watcher=$!
    slowhttptest "$@" -u "$url" -c "$count" -r "$rate" -l "$seconds" -p 3 >"$work/report" 2>&1 || fail "$name: slowhttptest fails"
    rm "$work/goes"
    wait "$watcher"
    worst=$(cat "$work/worst")
    sed -i 's/\x1b\[[0-9;]*m//g' "$work/report"
    grep -q 'service available: *YES' "$work/report" || fail "$name: slowhttptest has seen no service"
    if grep -q 'service available: *NO' "$work/report"; then fail "$name: not available to slowhttptest"; fi
    case $worst in failed*) fail "$name: another client is not served: $worst" ;; esac
    [ "$worst" -lt 2000 ] || fail "$name: another client waits for $worst ms"
    if [ "$ends" = yes ]; then grep -q 'No open connections left' "$work/report" || fail "$name: connections outlast it"; fi
    echo "$name: $count connections; others are served, within $worst ms at most"
}

memory() { awk -v what="^$1:" '$0 ~ what { print $2 }' "/proc/$gateway/status"; }
before=$(memory VmRSS)
for url in "$clear" "$tls"; do
    attack "slow heads, ${url%%:*}" "$url/" 600 400 30 yes -H -i 1
    attack "slow bodies, ${url%%:*}" "$url/" 600 400 30 yes -B -i 1 -s 8192
    # No more per second than the endpoint can send: else who is shed says nothing of slow clients.
    attack "slow reading, ${url%%:*}" "$url/large" 200 50 12 no -X -n 1 -z 5 -w 1 -y 64 -k 1
done
attack "ranges" "$clear/" 200 400 20 no -R -a 5 -b 2000
most=$(memory VmHWM)
grown=$((most - before))
# Every connection of the largest crowd with all that a request may hold.
[ "$grown" -lt 100000 ] || fail "resident memory has grown by $grown KB"
[ "$(curl -s -o /dev/null -w '%{http_code}' "$clear/large")" = 200 ] || fail "the gateway does not serve any more"
echo "slow clients: resident memory has grown by $grown KB at most"
