"""A network namespace of a test's own: every address and port is free there, listeners on 0.0.0.0
(as captured proxies have) meet nobody, and no packet leaves. And what is captured in it: the kernel
redirects connections to a proxy, as it does on pods."""
import contextlib
import ctypes
import http.client
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


class Loopback:
    """Addresses of a namespace of the test's own: any will do. In place of util.Net."""

    def __init__(self):
        self.used = 0

    def ip(self):
        self.used += 1
        return f"127.77.0.{self.used}"


# --- of the namespace that the caller is in ---

def has(*addresses):
    """It answers at these, of either family. Returns the first."""
    for address in addresses:
        v6 = ":" in address
        # At once: nobody else can have it, which the kernel would find out first for IPv6.
        subprocess.run(["ip", "address", "add", f"{address}/{128 if v6 else 32}", "dev", "lo",
                        *(["nodad"] if v6 else [])], check=True)
    return addresses[0]


def proto(address):
    """What nftables calls the protocol of an address or a block of addresses."""
    return "ip6" if ":" in address else "ip"


def redirect(*rules):
    """What is captured: rules of nftables for new connections from within; the first that matches
    says "accept" or "redirect to :PORT". Once in a namespace."""
    lines = "\n".join(rules)
    subprocess.run(["nft", "-f", "-"], check=True, text=True, input=f"""
        table inet capture {{
            chain output {{
                type nat hook output priority -100; policy accept
                {lines}
            }}
        }}
    """)


APP_UID = 1500
NOT_THE_APPLICATION = f"meta skuid != {APP_UID} accept"  # a rule: Envoy's own connections above all


@contextlib.contextmanager
def the_application():
    """Sockets that are made here are those of APP_UID."""
    os.seteuid(APP_UID)
    try:
        yield
    finally:
        os.seteuid(0)


def connect(ip, port):
    """A connection of the application."""
    with the_application():
        return socket.create_connection((ip, port), 30)


def get(ip, port, host):
    """(status, body) of its request; None when the connection ends without an answer."""
    c = http.client.HTTPConnection(host, timeout=30)
    try:
        c.sock = connect(ip, port)
        c.request("GET", "/", headers={"host": host})
        r = c.getresponse()
        return r.status, r.read().decode()
    except (http.client.HTTPException, OSError):
        return None
    finally:
        c.close()


def say(ip, port):
    """What it hears when it says hello."""
    with connect(ip, port) as s:
        try:
            s.sendall(b"hello\n")
            return s.recv(100)
        except OSError:
            return b""


if __name__ == "__main__":
    with namespace():
        with socket.create_server(("0.0.0.0", 15001)):
            subprocess.run(["ip", "address"], check=True)
