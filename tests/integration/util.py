"""Waiting, HTTP, processes and addresses: what every integration test stands on.

Nothing here sleeps for a fixed time and hopes: `wait_for` asks until a condition holds and says what
it last saw when it does not.
"""
import fcntl
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("MELTEMI_BUILD", "build")
BIN = BUILD / "bin"
APPS = ROOT / "build/bin/apps"  # never a sanitized variant: they make the load
# What sanitized daemons are told. A report fails whoever stops the daemon: Process.reports().
os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1")
os.environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
os.environ.setdefault("LSAN_OPTIONS", f"suppressions={ROOT}/tests/lsan.supp:print_suppressions=0")
os.environ.setdefault("TSAN_OPTIONS", f"suppressions={ROOT}/tests/tsan.supp")
REPORTS = re.compile(r"ERROR: \w+Sanitizer|WARNING: \w+Sanitizer|: runtime error: ")


class Timeout(AssertionError):
    """A condition did not come true."""


def wait_for(condition, timeout=10.0, what="", interval=0.02):
    """Returns condition()'s first true value; Timeout with the last false value or error if none."""
    end = time.monotonic() + timeout
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except (OSError, http.client.HTTPException, ValueError, KeyError, AssertionError) as e:
            last = repr(e)
        if time.monotonic() > end:
            raise Timeout(f"not within {timeout} s: {what or condition}; last: {str(last)[:2000]}")
        time.sleep(interval)


class Reply:
    """An HTTP answer: status, headers (lower case), body."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.text[:300]!r}>"


def http_request(addr, path="/", method="GET", headers=None, body=None, timeout=10.0):
    """One request on a connection of its own. addr is "ip:port"."""
    conn = http.client.HTTPConnection(addr, timeout=timeout)
    try:
        conn.request(method, path, body=body, headers=headers or {})
        r = conn.getresponse()
        return Reply(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read())
    finally:
        conn.close()


class Net:
    """A /24 of loopback addresses that no other run on this machine has: 127.X.Y.0, held by a lock
    on a file for as long as the process lives. Each of one run is another."""

    made = 0

    def __init__(self):
        folder = pathlib.Path(tempfile.gettempdir()) / "meltemi-test-nets"
        folder.mkdir(mode=0o777, exist_ok=True)
        start = os.getpid() + Net.made
        Net.made += 1
        for i in range(100 * 250):
            x, y = 100 + (start + i) // 250 % 100, (start + i) % 250
            lock = os.open(folder / f"127.{x}.{y}", os.O_CREAT | os.O_RDWR, 0o666)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                continue
            self.lock, self.prefix, self.used = lock, f"127.{x}.{y}", 0
            return
        raise RuntimeError("no free loopback network")

    def ip(self):
        """Another address of the network."""
        self.used += 1
        assert self.used < 255, "the test's network is used up"
        return f"{self.prefix}.{self.used}"

    def release(self):
        os.close(self.lock)


class Process:
    """A program with its log in a file. Ends only what it started."""

    def __init__(self, name, argv, log_dir, env=None, cwd=None):
        self.name, self.argv = name, [str(a) for a in argv]
        self.log_path = pathlib.Path(log_dir) / f"{name}.log"
        self.env = {**os.environ, **(env or {})}
        self.cwd = cwd
        self.proc = None
        self.expected_exit = False
        self.log_from = 0

    def start(self):
        self.log_from = len(self.log())
        with open(self.log_path, "ab") as log:
            log.write(f"--- {' '.join(self.argv)}\n".encode())
            log.flush()
            self.proc = subprocess.Popen(
                self.argv, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=self.env, cwd=self.cwd, start_new_session=True)
        self.expected_exit = False
        return self

    @property
    def running(self):
        return self.proc is not None and self.proc.poll() is None

    @property
    def pid(self):
        return self.proc.pid

    def check(self):
        """Raises when the program has ended on its own."""
        if self.proc is not None and self.proc.poll() is not None and not self.expected_exit:
            raise AssertionError(f"{self.name} ended with {self.proc.returncode}:\n{self.tail()}")

    def kill(self):
        """SIGKILL, for tests of recovery."""
        self.stop(signal.SIGKILL)

    def stop(self, sig=signal.SIGTERM, timeout=10.0):
        """Ends the program; its exit status. SIGKILL after the timeout, and what a sanitizer had
        to say (leaks, at a regular end), are faults."""
        if self.proc is None:
            return None
        self.expected_exit = True
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
            try:
                self.proc.wait(timeout)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
                raise AssertionError(
                    f"{self.name} did not end within {timeout} s:\n{self.tail()}") from None
        report = self.reports()
        assert not report, f"{self.name}: a sanitizer's report in {self.log_path}:\n{report}"
        return self.proc.returncode

    def reports(self):
        """What a sanitizer wrote into the log since the last start; else ""."""
        text = self.log()[self.log_from:]
        found = REPORTS.search(text)
        return text[found.start():][:6000] if found else ""

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def tail(self, lines=60):
        return "\n".join(self.log().splitlines()[-lines:])

    def rss_kb(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def write_atomic(path, text):
    """Writes aside and renames: only that is atomic for who watches the folder."""
    path = pathlib.Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text)
    aside.rename(path)
