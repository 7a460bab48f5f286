"""What the tests of Python libraries share: where the server is (arguments HOST PORT), exact checks, and waits that end."""

import os
import signal
import subprocess
import sys
import threading
import time

checks = 0
started = time.monotonic()


def check(got, wanted, what=""):
    """The value is the wanted one, and of its type."""
    global checks
    assert got == wanted and type(got) is type(wanted), f"{what}: got {got!r}, expected {wanted!r}"
    checks += 1


def refuses(kind, text, call):
    """The call raises an error of this kind that says so; gives it."""
    global checks
    try:
        got = call()
    except kind as error:
        assert text in str(error), f"an error that says {text!r}: {error!r}"
        checks += 1
        return error
    raise AssertionError(f"{kind.__name__} expected, got {got!r}")


def ends_within(seconds):
    """Ends the process if it still runs then: no wait of a library may hold the whole."""

    def late():
        print(f"{sys.argv[0]}: not done within {seconds} s", file=sys.stderr, flush=True)
        import faulthandler

        faulthandler.dump_traceback()
        os._exit(1)

    timer = threading.Timer(seconds, late)
    timer.daemon = True
    timer.start()


def passed(name):
    print(f"{name}: {checks} checks passed in {time.monotonic() - started:.1f} s", flush=True)


class Supervised(threading.Thread):
    """A program that is started again when it ends, as a supervisor does it."""

    def __init__(self, command, log):
        super().__init__(daemon=True)
        self.command, self.log, self.starts, self.wanted, self.process = command, log, 0, True, None
        self.start()

    def run(self):
        while self.wanted:
            self.starts += 1
            self.process = subprocess.Popen(self.command, start_new_session=True, stdout=self.log, stderr=self.log)
            self.process.wait()

    def end(self):
        self.wanted = False
        kill(self.process)
        self.join()


def kill(process):
    """The process and its children, with no warning."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


class Death:
    """Of a test on a cluster: `half()` says that it's in the middle of its work; then a node is killed, and stdin ends."""

    def __init__(self):
        self.is_over = threading.Event()
        self.errors = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        sys.stdin.read()
        self.is_over.set()

    def half(self):
        print("half", flush=True)

    def met(self, error):
        name = f"{type(error).__name__} {str(error).split(' ')[0]}"
        self.errors[name] = self.errors.get(name, 0) + 1

    def insist(self, call, seconds=20):
        """The call's value, once it raises no error; it must come before this time."""
        late = time.monotonic() + seconds
        while True:
            try:
                return call()
            except Exception as error:
                self.met(error)
                if time.monotonic() > late:
                    raise
                time.sleep(0.02)
