"""The sample applications do what the traffic tests rely on."""
import base64
import json
import os
import socket
import subprocess

import pytest

from util import APPS, http_request, wait_for


@pytest.fixture(scope="module")
def echo(apps):
    return apps.echo(version="v7", tcp=True)


def load(*flags):
    done = subprocess.run([APPS / "load", *flags], stdout=subprocess.PIPE, check=True, timeout=30)
    return json.loads(done.stdout)


def test_echo_says_what_it_saw(echo):
    r = http_request(echo.addr, "/a/b?x=1", method="POST", headers={"X-Test": "yes"}, body=b"abc")
    doc = r.json()
    assert r.status == 200
    assert doc["version"] == "v7" and doc["method"] == "POST" and doc["path"] == "/a/b"
    assert doc["query"] == {"x": "1"} and doc["headers"]["x-test"] == "yes"
    assert doc["body_bytes"] == 3 and doc["local"] == echo.addr
    assert r.headers["x-app-version"] == "v7"


def test_echo_status_fail_and_counts(echo):
    echo.reset()
    assert http_request(echo.addr, "/s?status=418").status == 418
    assert [http_request(echo.addr, "/f?fail=2&id=a").status for _ in range(3)] == [503, 503, 200]
    assert http_request(echo.addr, "/f?fail=1&id=b").status == 503
    stats = echo.stats()
    assert stats["total"] == 5
    assert stats["by_path"] == {"/s": 1, "/f": 4}
    assert stats["by_status"] == {"418": 1, "503": 3, "200": 1}


def test_echo_drops_the_connection(echo):
    with pytest.raises(OSError):
        http_request(echo.addr, "/d?drop=1")


def test_echo_refuses_a_long_body(echo):
    assert http_request(echo.addr, "/", method="POST", body=b"x" * 70000).status == 413


def test_echo_health(echo):
    assert http_request(echo.addr, "/unhealthy", method="POST").status == 200
    assert http_request(echo.addr, "/healthz").status == 503
    assert http_request(echo.addr, "/healthy", method="POST").status == 200
    assert http_request(echo.addr, "/healthz").status == 200


def test_echo_tcp(echo):
    ip, port = echo.tcp_addr.split(":")
    with socket.create_connection((ip, int(port)), timeout=5) as s:
        f = s.makefile("rwb")
        assert f.readline() == b"echo v7\n"
        f.write(b"hello\n")
        f.flush()
        assert f.readline() == b"hello\n"


def test_echo_websocket(echo):
    ip, port = echo.addr.split(":")
    key = base64.b64encode(os.urandom(16)).decode()
    with socket.create_connection((ip, int(port)), timeout=5) as s:
        f = s.makefile("rwb")
        f.write(f"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        f.flush()
        assert b"101" in f.readline()
        while f.readline() != b"\r\n":
            pass
        f.write(b"\x81\x85" + b"\0\0\0\0" + b"hello")
        f.flush()
        assert f.read(7) == b"\x81\x05hello"


def test_load_counts_and_groups(echo):
    echo.reset()
    r = load("--url", f"http://{echo.addr}/l?fail=1&id={{n}}", "--rate", "500", "--count", "100",
             "--by-json", "version")
    assert r["sent"] == 100 and r["ok"] == 0
    assert r["status"] == {"503": 100} and r["errors"] == {} and r["by"] == {"v7": 100}
    assert echo.stats()["total"] == 100
    assert len(r["samples"]) == 20


def test_load_keeps_its_rate_and_says_errors(echo, net):
    r = load("--url", f"http://{echo.addr}/", "--rate", "400", "--seconds", "1")
    assert r["ok"] == r["sent"] and 390 <= r["sent"] <= 401
    r = load("--url", f"http://{net.ip()}:1/", "--rate", "100", "--count", "5")
    assert r["errors"] == {"connect": 5}
    r = load("--url", f"http://{echo.addr}/?delay=2s", "--count", "2", "--timeout", "100ms")
    assert r["errors"] == {"timeout": 2}
    r = load("--url", f"http://{echo.addr}/?delay=300ms", "--rate", "1000", "--count", "100",
             "--connections", "2", "--backlog", "10")
    assert r["sent"] + r["dropped"] == 100 and r["dropped"] > 0 and r["sent"] == r["ok"]


def test_streams_notice_a_break(apps):
    echo = apps.echo(tcp=True)
    for url in (f"http://{echo.addr}/stream?interval=20ms", f"tcp://{echo.tcp_addr}"):
        done = subprocess.run([APPS / "streams", "--url", url, "--streams", "5", "--interval",
                               "20ms", "--seconds", "0.5"], stdout=subprocess.PIPE, check=True,
                              timeout=30)
        r = json.loads(done.stdout)
        assert r["opened"] == 5 and r["breaks"] == {} and r["lines"] > 50
    holder = subprocess.Popen([APPS / "streams", "--url", f"tcp://{echo.tcp_addr}", "--streams",
                               "5"], stdout=subprocess.PIPE)
    wait_for(lambda: echo.stats()["tcp_open"] == 5, what="streams are open")
    echo.stop()
    holder.terminate()
    out, _ = holder.communicate(timeout=10)
    assert sum(json.loads(out)["breaks"].values()) >= 5


def test_bookshop(apps, net):
    ips = {n: net.ip() for n in ("details", "ratings", "productpage", "v1", "v2", "v3")}
    apps.start("details", "--listen", f"{ips['details']}:8000")
    apps.start("ratings", "--listen", f"{ips['ratings']}:8000")
    for v in ("v1", "v2", "v3"):
        apps.start("reviews", "--version", v, "--listen", f"{ips[v]}:8000",
                   "--via", f"{ips['ratings']}:8000")
    for ip in ips.values():
        if ip != ips["productpage"]:
            wait_for(lambda ip=ip: http_request(f"{ip}:8000", "/healthz").status == 200)
    colors = []
    for v in ("v1", "v2", "v3"):
        doc = http_request(f"{ips[v]}:8000", "/reviews/0").json()
        assert doc["version"] == v
        colors.append(doc["reviews"][0].get("rating", {}).get("color"))
    assert colors == [None, "black", "red"]
    page = f"{ips['productpage']}:8000"
    apps.start("productpage", "--listen", page, "--details", f"http://{ips['details']}:8000",
               "--reviews", f"http://{ips['v3']}:8000")
    wait_for(lambda: http_request(page, "/healthz").status == 200)
    r = http_request(page, "/?u=ada")
    assert r.status == 200 and "reviews v3" in r.text and "Eleni Varda" in r.text
    assert r.headers["set-cookie"].startswith("user=ada;")
    assert r.headers["x-reviews-version"] == "v3" and r.headers["x-details-status"] == "200"
    assert "<script>" not in http_request(page, "/?u=%3Cscript%3E").text


def test_bookshop_passes_on_user_and_trace(apps, net):
    echo = apps.echo(version="v1")
    page = f"{net.ip()}:8000"
    apps.start("productpage", "--listen", page, "--via", echo.addr)
    wait_for(lambda: http_request(page, "/healthz").status == 200)
    r = http_request(page, "/api/details", headers={
        "cookie": "user=ada", "x-request-id": "r-1", "traceparent": "00-aa-bb-01"}).json()
    assert r["host"] == "details.bookshop.svc.cluster.local:9080"
    assert r["headers"]["end-user"] == "ada" and r["headers"]["x-request-id"] == "r-1"
    assert r["headers"]["traceparent"] == "00-aa-bb-01"
