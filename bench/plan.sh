#!/usr/bin/env bash
# What `tidegate plan` predicts beside what is measured: a real service of a few slots, whose times are drawn, behind the gateway, at 50, 70
# and 85 % of what it can do; and how far L and λW, counted apart, are from each other.
#
#   SECONDS_EACH=60 bash bench/plan.sh
#   SLOTS=4 SERVICE_MS=10 AT="0.5 0.7 0.85"
#
# The gateway lets in as many as there are slots, so requests wait in its line. Each load is told twelve times, over ten seconds each;
# the figures are means of those. The last column predicts from the first load's service time: a plan made on a calm day.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
SLOTS=${SLOTS:-4} SERVICE_MS=${SERVICE_MS:-10} AT=${AT:-0.5 0.7 0.85} SECONDS_EACH=${SECONDS_EACH:-120} BENCH=${BENCH:-target/release/bench}
need curl python3
[ -x "$BENCH" ] || cargo build --release -q -p bench
free_port; upstream=$last_port
free_port; port=$last_port
free_port; admin=$last_port
mkfifo "$work/stdin"
taskset -c "$CLIENT_CPU" "$BENCH" upstream --slots "$SLOTS" --service-ms "$SERVICE_MS" --exponential --port "$upstream" <"$work/stdin" >>"$work/log" 2>&1 &
exec 8>"$work/stdin"
cat >"$work/gateway.toml" <<T
[gateway]
listen = "127.0.0.1:$port"
admin = "127.0.0.1:$admin"
lanes = 1
[service.app]
endpoints = ["127.0.0.1:$upstream"]
admission = { limit = $SLOTS, queue = 10000, wait = "20s" }
[[route]]
service = "app"
T
taskset -c "$SERVER_CPU" "$TIDEGATE" gateway --config "$work/gateway.toml" >>"$work/log" 2>&1 &
pids+=($!)
for ((tries = 0; tries < 1000; tries++)); do curl -sf -o /dev/null "http://127.0.0.1:$port/" && break; sleep 0.01; done
load() { taskset -c "$CLIENT_CPU" "$BENCH" load --quiet --target "127.0.0.1:$port" --phases "$1" --timeout-ms 20000; }
# What a slot really takes on this machine's timers.
capacity=$(load "$(python3 -c "print($SLOTS * 600 / $SERVICE_MS)")x15" >/dev/null
    "$TIDEGATE" plan --admin "127.0.0.1:$admin" --slots-each "$SLOTS" --json | python3 -c "import json, sys; print($SLOTS * 1000 / json.load(sys.stdin)['service_ms'])")
echo "$SLOTS slots, exponential times: capacity $capacity/s"
for at in $AT; do
    rate=$(python3 -c "print($capacity * $at)")
    load "${rate}x$((SECONDS_EACH + 12))" >"$work/load" &
    loading=$!
    sleep 11
    : >"$work/told"
    for ((told = 0; told < SECONDS_EACH / 10; told++)); do
        sleep 9
        "$TIDEGATE" plan --admin "127.0.0.1:$admin" --slots-each "$SLOTS" --json >>"$work/told"
        curl -s "http://127.0.0.1:$admin/v1/gateway/services/app" | python3 -c "import json, sys; print(json.dumps(json.load(sys.stdin)))" >>"$work/services"
    done
    wait "$loading"
    python3 - "$at" "$work/told" "$work/services" "$work/first" <<'P'
import json, os, statistics, sys
at, told, services, first = float(sys.argv[1]), *sys.argv[2:]
plans = [json.loads(line) for line in open(told)]
residuals = [json.loads(line)['residual'] for line in open(services)][-len(plans):]
mean = lambda of: statistics.mean(of(plan) for plan in plans)
rate, service = mean(lambda p: p['rate_per_s']), mean(lambda p: p['service_ms'])
measured, said = mean(lambda p: p['measured']['inside_ms']), mean(lambda p: p['forecasts'][0]['inside_ms'] or float('inf'))
inside, little = mean(lambda p: p['measured']['inside']), mean(lambda p: p['rate_per_s'] * p['measured']['inside_ms'] / 1e3)
if not os.path.exists(first):
    json.dump({'service': service}, open(first, 'w'))
calm = json.load(open(first))['service']
slots = plans[0]['servers'] * plans[0]['slots_each']
arrival, spread = mean(lambda p: p['arrival_cv2']), mean(lambda p: p['service_cv2'])
def w(rate, service):
    load = rate * service / 1e3
    lost = 1.0
    for n in range(1, slots + 1):
        lost = load * lost / (n + load * lost)
    waits = lost / (1 - load / slots * (1 - lost))
    return waits * service / (slots - load) * (arrival + spread) / 2 + service
whole, paper = w(rate, service), w(rate, calm)
print(f"at {at:.2f}: {rate:.1f}/s of {service:.2f} ms, utilisation {rate * service / 1e3 / slots:.3f}, cv2 {arrival:.2f} {spread:.2f}; W measured {measured:.2f} ms, "
      f"predicted {whole:.2f} ({whole / measured - 1:+.1%}), by windows {said:.2f} ({said / measured - 1:+.1%}), from the calm day {paper:.2f} ({paper / measured - 1:+.1%}); "
      f"L {inside:.2f}, λW {little:.2f} ({abs(inside - little) / inside:.1%} apart; windows of 10 s at most {max(residuals):.1%})")
P
done
exec 8>&-
