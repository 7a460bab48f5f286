#!/bin/bash
# TLS of the gateway as scanners see it: no version before 1.2, no cipher without forward secrecy and authentication, no compression, no
# renegotiation by the client, resumption that works; with keys of both kinds. sslscan is installed if it isn't there; what can't be had makes the script fail.
# Usage: tidegate/tests/tls.sh target/release/tidegate
set -euo pipefail
tidegate=$(realpath "$1")
cd "$(dirname "$0")/../.."
tidegate/tests/clients/packages.sh sslscan:sslscan openssl:openssl curl:curl
work=$(mktemp -d)
pid=

cleanup() {
    if [ -n "$pid" ]; then kill -KILL "$pid" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT

# Keys of both kinds: ciphers of both are seen.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$work/ec.key" -out "$work/ec.pem" 2>/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$work/rsa.key" -out "$work/rsa.pem" 2>/dev/null
cat >"$work/gateway.toml" <<END
[gateway]
admin = "127.0.0.1:0"
[[listener]]
address = "127.0.0.1:0"
[listener.tls]
certificates = [
    { certificate = "$work/ec.pem", key = "$work/ec.key" },
    { certificate = "$work/rsa.pem", key = "$work/rsa.key" },
]
[service.none]
endpoints = []
[[route]]
service = "none"
END
mkfifo "$work/out"
"$tidegate" gateway --config "$work/gateway.toml" >"$work/out" 2>"$work/log" &
pid=$!
exec 3<"$work/out"
read -r -t 30 line <&3 || true
if [[ ! ${line:-} =~ ^ready\ https=127\.0\.0\.1:([0-9]+) ]]; then
    echo "no ready line within 30 s, but: '${line:-}'" >&2
    cat "$work/log" >&2
    exit 1
fi
port=${BASH_REMATCH[1]}

failed=0
fail() {
    echo "$*" >&2
    failed=1
}

sslscan --no-colour --xml="$work/scan.xml" "127.0.0.1:$port" >"$work/scan.txt"
ciphers=$(grep -c '<cipher ' "$work/scan.xml") || true
if [ "$ciphers" -lt 6 ]; then fail "sslscan found $ciphers ciphers: it has seen no TLS"; fi
for version in 'type="ssl" version="2"' 'type="ssl" version="3"' 'type="tls" version="1.0"' 'type="tls" version="1.1"'; do
    grep -q "<protocol $version enabled=\"0\"" "$work/scan.xml" || fail "not off: $version"
done
for version in 1.2 1.3; do
    grep -q "<protocol type=\"tls\" version=\"$version\" enabled=\"1\"" "$work/scan.xml" || fail "not on: TLS $version"
done
# Every cipher is an AEAD behind an ephemeral key.
weak=$(grep '<cipher ' "$work/scan.xml" | grep -vE 'cipher="(TLS_(AES_(128|256)_GCM|CHACHA20_POLY1305)_SHA(256|384)|ECDHE-(ECDSA|RSA)-(AES(128|256)-GCM-SHA(256|384)|CHACHA20-POLY1305))"') || true
if [ -n "$weak" ]; then fail "weak ciphers:"$'\n'"$weak"; fi
if grep -q '<compression supported="1"' "$work/scan.xml"; then fail "compression is on"; fi
if grep -q '<renegotiation supported="1" secure="0"' "$work/scan.xml"; then fail "insecure renegotiation"; fi
if grep -q 'vulnerable="1"' "$work/scan.xml"; then fail "heartbleed"; fi

# What clients ask for by hand.
for asked in "-tls1_1 -cipher ALL:@SECLEVEL=0" "-tls1 -cipher ALL:@SECLEVEL=0" "-tls1_2 -cipher AES128-GCM-SHA256" "-tls1_2 -cipher ECDHE+SHA1:@SECLEVEL=0"; do
    # shellcheck disable=SC2086
    if openssl s_client $asked -connect "127.0.0.1:$port" </dev/null >"$work/asked" 2>&1; then fail "accepted: $asked"; fi
done
for version in -tls1_2 -tls1_3; do
    printf 'GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n' >"$work/get"
    openssl s_client "$version" -ign_eof -sess_out "$work/session" -connect "127.0.0.1:$port" <"$work/get" >/dev/null 2>&1 || true
    openssl s_client "$version" -ign_eof -sess_in "$work/session" -connect "127.0.0.1:$port" <"$work/get" >"$work/asked" 2>&1 || true
    grep -q '^Reused' "$work/asked" || fail "no resumption by $version"
done
# The client can't ask for another handshake.
if printf 'R\n' | openssl s_client -tls1_2 -connect "127.0.0.1:$port" >"$work/asked" 2>&1; then
    grep -q 'no renegotiation' "$work/asked" || fail "renegotiation by the client"
fi
status=$(curl -sS --cacert "$work/ec.pem" --resolve "localhost:$port:127.0.0.1" -o /dev/null -w '%{http_version} %{response_code}' "https://localhost:$port/")
if [ "$status" != "2 503" ]; then fail "curl got '$status', where HTTP/2 and 503 were expected"; fi

if [ "$failed" -ne 0 ]; then
    cat "$work/scan.txt" >&2
    exit 1
fi
echo "tls: $ciphers ciphers, none weak; TLS 1.2 and 1.3 alone; resumption, ALPN"
