"""A network namespace of a test's own: every address and port is free there, listeners on 0.0.0.0
(as captured proxies have) meet nobody, and no packet leaves."""
import contextlib
import ctypes
import os
import socket
import subprocess

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def enter(fd):
    """The calling thread, and what it starts from now on, is in the namespace."""
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def here():
    """An open handle of the calling thread's namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


class Namespace:
    """`with ns:` what is inside runs, listens and connects in it. Lives until closed, and as long as
    a process that was started in it."""

    def __init__(self):
        before = here()
        if libc.unshare(CLONE_NEWNET) != 0:
            os.close(before)
            raise OSError(ctypes.get_errno(), "a network namespace needs root")
        try:
            self.fd = here()
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            # Addresses that no one has are refused at once instead of timing out.
            subprocess.run(["ip", "route", "add", "unreachable", "default"], check=True)
        finally:
            enter(before)
            os.close(before)
        self.outer = []

    def __enter__(self):
        self.outer.append(here())
        enter(self.fd)
        return self

    def __exit__(self, *_):
        fd = self.outer.pop()
        enter(fd)
        os.close(fd)

    def close(self):
        os.close(self.fd)


@contextlib.contextmanager
def namespace():
    ns = Namespace()
    try:
        with ns:
            yield ns
    finally:
        ns.close()


if __name__ == "__main__":
    with namespace():
        with socket.create_server(("0.0.0.0", 15001)):
            subprocess.run(["ip", "address"], check=True)
