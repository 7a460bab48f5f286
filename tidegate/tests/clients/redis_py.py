"""redis-py, unmodified, against the node at PORT: what applications do with it, over RESP2 and RESP3.

Usage: redis_py.py PORT. Prints how many checks passed; the first that fails ends it.
"""

import sys
import threading

import redis

port = int(sys.argv[1])
checks = 0


def check(got, wanted):
    global checks
    assert got == wanted and type(got) is type(wanted), f"got {got!r}, expected {wanted!r}"
    checks += 1


def refuses(kind, text, call):
    global checks
    try:
        got = call()
    except kind as error:
        assert text in str(error), f"the error says {text!r}: {error}"
        checks += 1
        return
    raise AssertionError(f"{kind.__name__} expected, got {got!r}")


def strings_and_keys(r):
    r.flushall()
    check(r.set("a", "1"), True)
    check(r.get("a"), "1")
    check(r.get("none"), None)
    check(r.set("a", "2", nx=True), None)
    check(r.set("a", "2", xx=True, get=True), "1")
    check(r.set("t", "x", px=100_000), True)
    check(99_000 < r.pttl("t") <= 100_000, True)
    check(r.set("t", "y", keepttl=True), True)
    check(r.ttl("t") > 0, True)
    check(r.persist("t"), True)
    check(r.ttl("t"), -1)
    check(r.ttl("none"), -2)
    check(r.expire("t", 100, gt=True), False)
    check(r.expire("t", 100, nx=True), True)
    check(r.expireat("t", 4_000_000_000), True)
    check(r.expiretime("t"), 4_000_000_000)
    check(r.getex("t", persist=True), "y")
    check(r.getdel("t"), "y")
    check(r.mset({"m1": "1", "m2": "zwei €"}), True)
    check(r.mget("m1", "none", "m2"), ["1", None, "zwei €"])
    check(r.msetnx({"m1": "x", "m3": "x"}), False)
    check(r.incr("n", 5), 5)
    check(r.decrby("n", 7), -2)
    check(r.incrbyfloat("f", 0.1), 0.1)
    check(r.append("s", "hello"), 5)
    check(r.setrange("s", 1, "i!"), 5)
    check(r.getrange("s", 0, -2), "hi!l")
    check(r.strlen("s"), 5)
    check(r.type("s"), "string")
    check(r.type("none"), "none")
    check(r.exists("a", "a", "none"), 2)
    check(r.touch("a", "none"), 1)
    check(r.rename("a", "b"), True)
    check(r.renamenx("b", "m1"), False)
    check(r.copy("b", "c"), True)
    check(r.delete("b", "none"), 1)
    check(r.unlink("c"), 1)
    check(sorted(r.keys("m*")), ["m1", "m2"])
    check(sorted(r.scan_iter(count=1)), ["f", "m1", "m2", "n", "s"])
    check(r.randomkey() in {"f", "m1", "m2", "n", "s"}, True)
    check(r.dbsize(), 5)
    refuses(redis.ResponseError, "not an integer", lambda: r.incr("m2"))
    refuses(redis.ResponseError, "no such key", lambda: r.rename("none", "b"))
    refuses(redis.ResponseError, "unknown command", lambda: r.execute_command("NOSUCH", "a"))


def pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        for number in range(1000):
            pipe.set(f"p{number}", number)
        check(pipe.execute(), [True] * 1000)
    with r.pipeline(transaction=False) as pipe:
        replies = pipe.set("word", "x").incr("word").get("word").execute(raise_on_error=False)
        check(replies[0], True)
        check(type(replies[1]), redis.ResponseError)
        check(replies[2], "x")


def transactions(r, other):
    with r.pipeline() as pipe:
        check(pipe.set("n", 1).incr("n").get("n").execute(), [True, 2, "2"])
    r.set("watched", 1)
    with r.pipeline() as pipe:
        pipe.watch("watched")
        check(pipe.get("watched"), "1")
        other.set("watched", 2)
        pipe.multi()
        pipe.set("watched", 3)
        refuses(redis.WatchError, "Watched variable changed", pipe.execute)
    check(r.get("watched"), "2")
    check(r.transaction(lambda pipe: (pipe.multi(), pipe.incr("watched")), "watched"), [3])
    with r.pipeline() as pipe:
        pipe.set("n", 5).execute_command("NOSUCH")
        refuses(redis.ResponseError, "unknown command", pipe.execute)
    check(r.get("n"), "2")


def connections(r, protocol):
    check(r.ping(), True)
    check(r.echo("€"), "€")
    check(r.client_setname("checks"), True)
    check(r.client_getname(), "checks")
    check(r.client_setinfo("LIB-NAME", "checks"), True)
    check(r.client_setinfo("LIB-VER", "1.2"), True)
    info = r.client_info()
    check((info["name"], info["lib-name"], info["lib-ver"]), ("checks", "checks", "1.2"))
    check(info["resp"], str(protocol))
    check(r.client_id() in [int(one["id"]) for one in r.client_list()], True)
    check(r.info("server")["redis_mode"], "standalone")
    check(r.config_get("appendfsync"), {"appendfsync": "always"})
    check(len(r.time()), 2)
    check(r.command_count() > 50, True)
    check("get" in r.command(), True)


def databases(protocol):
    third = redis.Redis(port=port, db=3, protocol=protocol, decode_responses=True)
    third.set("here", "1")
    check(redis.Redis(port=port, protocol=protocol).exists("here"), 0)
    check(third.move("here", 4), True)
    check(third.dbsize(), 0)
    check(redis.Redis(port=port, db=4, protocol=protocol).get("here"), b"1")


def pool_of_threads(protocol):
    """Threads that share one client and its blocking pool: each increment counts once."""
    pool = redis.BlockingConnectionPool(port=port, protocol=protocol, max_connections=4, timeout=30)
    client = redis.Redis(connection_pool=pool)
    client.delete("shared")
    threads = [threading.Thread(target=lambda: [client.incr("shared") for _ in range(200)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(client.get("shared"), b"1600")
    pool.disconnect()


def bytes_of_any_kind(protocol):
    raw = redis.Redis(port=port, protocol=protocol)
    every = bytes(range(256)) * 300
    check(raw.set(every[:256], every), True)
    check(raw.get(every[:256]), every)
    check(raw.set("big", b"x" * 5_000_000), True)
    check(len(raw.get("big")), 5_000_000)
    check(raw.delete("big", every[:256]), 2)


for protocol in (2, 3):
    client = redis.Redis(port=port, protocol=protocol, decode_responses=True, client_name="checks")
    strings_and_keys(client)
    pipelines(client)
    transactions(client, redis.Redis(port=port, protocol=protocol))
    connections(redis.Redis(port=port, protocol=protocol, decode_responses=True, single_connection_client=True), protocol)
    databases(protocol)
    pool_of_threads(protocol)
    bytes_of_any_kind(protocol)
    client.flushall()
print(f"redis-py {redis.__version__}: {checks} checks passed")
