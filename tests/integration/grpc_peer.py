"""A gRPC client or server of another language (Python's grpcio), as a process of its own: gRPC reads
its xDS bootstrap once, from the environment. Talks JSON, one line a command, one line an answer.

    grpc_peer.py client                 {"target", "n", "method", "timeout", "metadata", "tls"} ->
                                        {"names": {NAME: n}, "codes": {CODE: n}, "seconds"}
    grpc_peer.py server ADDR NAME [xds] says {"listens": ADDR} and serves until its input ends
"""
import collections
import concurrent.futures
import json
import sys
import time

import grpc
import grpc.experimental

SERVICE = "demo.Greeter"


class Greeter(grpc.GenericRpcHandler):
    """Hello answers with the server's name; Slow after two seconds; Flaky fails the first two
    attempts with one key; Fail always."""

    def __init__(self, name):
        self.name, self.calls, self.attempts = name, collections.Counter(), collections.Counter()

    def service(self, details):
        method = details.method.rsplit("/", 1)[1]
        metadata = dict(details.invocation_metadata)

        def answer(_request, context):
            self.calls[method] += 1
            if method == "Slow":
                time.sleep(2)
            if method == "Fail":
                context.abort(grpc.StatusCode.UNAVAILABLE, f"{self.name} fails")
            if method == "Flaky":
                key = metadata.get("x-key", "")
                self.attempts[key] += 1
                if self.attempts[key] < 3:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
            return self.name.encode()
        return grpc.unary_unary_rpc_method_handler(answer)


def serve(addr, name, xds=False):
    """A server that has started; .stop(0) ends it."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), xds=xds)
    greeter = Greeter(name)
    server.add_generic_rpc_handlers((greeter,))
    if xds:
        port = server.add_secure_port(addr, grpc.xds_server_credentials(
            grpc.insecure_server_credentials()))
    else:
        port = server.add_insecure_port(addr)
    assert port, addr
    server.start()
    return server, greeter


def calls(channels, cmd):
    target = cmd["target"]
    if target not in channels:
        channels[target] = grpc.insecure_channel(target) if not cmd.get("tls") else \
            grpc.secure_channel(target, grpc.xds_channel_credentials(
                grpc.experimental.insecure_channel_credentials()))
    call = channels[target].unary_unary(f"/{SERVICE}/{cmd.get('method', 'Hello')}")
    names, codes, start = collections.Counter(), collections.Counter(), time.monotonic()
    said = []
    for _ in range(cmd.get("n", 1)):
        try:
            names[call(b"", timeout=cmd.get("timeout", 10), wait_for_ready=cmd.get("wait", False),
                       metadata=list(cmd.get("metadata", {}).items())).decode()] += 1
            codes["OK"] += 1
        except grpc.RpcError as e:
            codes[e.code().name] += 1
            said.append(e.details())
    return {"names": names, "codes": codes, "seconds": time.monotonic() - start, "said": said[:3]}


def say(what):
    print(json.dumps(what), flush=True)


def main():
    if sys.argv[1] == "server":
        addr, name, xds = sys.argv[2], sys.argv[3], sys.argv[4:] == ["xds"]
        server, greeter = serve(addr, name, xds)
        say({"listens": addr})
        for _ in sys.stdin:
            say(greeter.calls)
        server.stop(0)
        return
    channels = {}
    for line in sys.stdin:
        cmd = json.loads(line)
        if "close" in cmd:
            channels.pop(cmd["close"]).close()
            say({})
        else:
            say(calls(channels, cmd))


if __name__ == "__main__":
    main()
