"""A gRPC echo application and its load, each a program of its own, in bytes (no generated code).

    grpc_echo.py serve ADDR --name NAME --version V     the application
    grpc_echo.py load ADDR --authority HOST --rate N --streams N
                                                        calls until SIGTERM, then a JSON summary

Methods of /test.Echo/: Unary answers its request; Bidi answers each message as it comes; Many answers
its request `count` times; Fail ends with the status in the metadata x-status; Flaky fails with
UNAVAILABLE as often as x-fail says for each x-id; Slow answers after x-delay-ms. Initial metadata of
each answer has x-app-name and x-app-version, trailing metadata x-served (how many calls this was).
"""
import argparse
import collections
import concurrent.futures
import json
import signal
import threading
import time

import grpc

SERVICE = "test.Echo"


class Echo:
    def __init__(self, name, version):
        self.meta = (("x-app-name", name), ("x-app-version", version))
        self.lock = threading.Lock()
        self.served = 0
        self.failed = collections.Counter()

    def begin(self, context):
        with self.lock:
            self.served += 1
            served = self.served
        context.send_initial_metadata(self.meta)
        context.set_trailing_metadata((("x-served", str(served)),))
        return dict(context.invocation_metadata())

    def unary(self, request, context):
        self.begin(context)
        return request

    def bidi(self, requests, context):
        self.begin(context)
        yield from requests

    def many(self, request, context):
        meta = self.begin(context)
        for i in range(int(meta.get("x-count", 10))):
            yield request + b" %d" % i

    def fail(self, request, context):
        meta = self.begin(context)
        context.abort(getattr(grpc.StatusCode, meta["x-status"]), "as it was asked")

    def flaky(self, request, context):
        meta = dict(context.invocation_metadata())
        with self.lock:
            self.failed[meta["x-id"]] += 1
            failed = self.failed[meta["x-id"]]
        if failed <= int(meta["x-fail"]):
            context.abort(grpc.StatusCode.UNAVAILABLE, f"failure {failed}")
        self.begin(context)
        return b"%d" % failed

    def slow(self, request, context):
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(int(dict(context.invocation_metadata())["x-delay-ms"]) / 1000)
        self.begin(context)
        return request

    def handlers(self):
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        return (grpc.method_handlers_generic_handler(SERVICE, {
            "Unary": unary(self.unary), "Bidi": stream(self.bidi), "Fail": unary(self.fail),
            "Flaky": unary(self.flaky), "Slow": unary(self.slow),
            "Many": grpc.unary_stream_rpc_method_handler(self.many)}),)


def serve(args, ending):
    # Each open stream holds a thread of grpcio's.
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(64))
    server.add_generic_rpc_handlers(Echo(args.name, args.version).handlers())
    assert server.add_insecure_port(args.addr)
    server.start()
    print("serving", flush=True)
    ending.wait()
    server.stop(0.1).wait()


class Caller:
    """One HTTP/2 connection to an address; calls name the service as their authority."""

    def __init__(self, addr, authority):
        self.channel = grpc.insecure_channel(addr, [
            ("grpc.default_authority", authority), ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0), ("grpc.max_reconnect_backoff_ms", 500)])

    def unary(self, method="Unary", data=b"hello", timeout=10, **meta):
        """(answer, version that answered, trailing metadata)."""
        meta = [("x-" + k.replace("_", "-"), str(v)) for k, v in meta.items()]
        answer, call = self.channel.unary_unary(f"/{SERVICE}/{method}").with_call(
            data, timeout=timeout, metadata=meta)
        return (answer, dict(call.initial_metadata()).get("x-app-version"),
                dict(call.trailing_metadata()))

    def code(self, *args, **kw):
        """The status code that a call ends with, and its message."""
        try:
            self.unary(*args, **kw)
            return grpc.StatusCode.OK, ""
        except grpc.RpcError as e:
            return e.code(), e.details()

    def many(self, count):
        return list(self.channel.unary_stream(f"/{SERVICE}/Many")(
            b"x", timeout=10, metadata=[("x-count", str(count))]))

    def bidi(self, messages):
        return self.channel.stream_stream(f"/{SERVICE}/Bidi")(messages)

    def close(self):
        self.channel.close()


class Load:
    """Unary calls at a fixed rate whatever becomes of them, and streams that each echo a message
    every 100 ms and should never end."""

    def __init__(self, args, ending):
        self.args, self.ending = args, ending
        self.lock = threading.Lock()
        self.codes, self.versions, self.breaks = (collections.Counter() for _ in range(3))
        self.sent = self.echoed = self.open = 0

    def done(self, call):
        code = call.code()
        with self.lock:
            self.open -= 1
            self.codes[code.name] += 1
            if code is grpc.StatusCode.OK:
                self.versions[dict(call.initial_metadata()).get("x-app-version", "")] += 1
            elif len(self.breaks) < 20:
                self.breaks[f"call: {code.name} {call.details()}"] += 1

    def stream(self, caller):
        def messages():
            n = 0
            while not self.ending.wait(0.1):
                n += 1
                yield b"%d" % n
        n = 0
        try:
            for answer in caller.bidi(messages()):
                n += 1
                assert answer == b"%d" % n
                with self.lock:
                    self.echoed += 1
            assert self.ending.is_set(), "ended"
        except (grpc.RpcError, AssertionError) as e:
            why = f"{e.code().name} {e.details()}" if isinstance(e, grpc.RpcError) else repr(e)
            with self.lock:
                self.breaks[f"stream: {why}"] += 1

    def run(self):
        caller = Caller(self.args.addr, self.args.authority)
        threads = [threading.Thread(target=self.stream, args=(caller,), daemon=True)
                   for _ in range(self.args.streams)]
        for t in threads:
            t.start()
        method = caller.channel.unary_unary(f"/{SERVICE}/Unary")
        at = time.monotonic()
        print("running", flush=True)
        while not self.ending.wait(max(0, at - time.monotonic())):
            at += 1 / self.args.rate
            with self.lock:
                self.sent += 1
                self.open += 1
            method.future(b"hello", timeout=20).add_done_callback(self.done)
        end = time.monotonic() + 20
        while self.open and time.monotonic() < end:
            time.sleep(0.01)
        for t in threads:
            t.join(20)
        print("\n" + json.dumps({
            "sent": self.sent, "codes": self.codes, "versions": self.versions,
            "breaks": self.breaks, "echoed": self.echoed, "unanswered": self.open}), flush=True)
        caller.close()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("role", choices=["serve", "load"])
    p.add_argument("addr")
    p.add_argument("--name", default="echo")
    p.add_argument("--version", default="v1")
    p.add_argument("--authority")
    p.add_argument("--rate", type=float, default=100)
    p.add_argument("--streams", type=int, default=5)
    args = p.parse_args()
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    if args.role == "serve":
        serve(args, ending)
    else:
        Load(args, ending).run()


if __name__ == "__main__":
    main()
