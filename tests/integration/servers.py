"""Servers of the tests' own, for what the sample applications do not do: each is there, in the network
namespace of who makes it, until close().

WHERE is an (ip, port) of either address family, with port 0 any that is free (.port), or the path of a
Unix socket."""
import http.server
import json
import socket
import socketserver
import ssl
import sys
import threading
import time


class Server:
    """Gives each connection to a handler (a class of socketserver), in a thread of its own."""

    def __init__(self, where, handler, context=None):
        """context: of TLS, which it then ends."""
        class Here(socketserver.ThreadingMixIn, socketserver.TCPServer):
            address_family = family_of(where)
            allow_reuse_address = daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *args):
                if not isinstance(sys.exc_info()[1], OSError):  # whoever asked may have gone
                    super().handle_error(*args)

        self.server = Here(where if isinstance(where, tuple) else str(where), handler)
        if isinstance(where, tuple):
            self.ip, self.port = self.server.server_address[:2]
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def family_of(where):
    if not isinstance(where, tuple):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in where[0] else socket.AF_INET


def tls_context(cert):
    """Of a server that shows a certificate: its file and its key's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*[str(p) for p in cert])
    return context


class Http(http.server.BaseHTTPRequestHandler):
    """What handlers of HTTP are made of."""
    protocol_version = "HTTP/1.1"

    def answer(self, body=b"", status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "-"  # a Unix socket has none

    def log_message(self, *args):
        pass


class Backend(Server):
    """HTTP: says its name. tls: the files of a certificate, for HTTPS."""

    def __init__(self, where, name="backend", tls=None):
        class Handler(Http):
            def do_GET(self):  # pylint: disable=invalid-name
                self.answer(json.dumps({"name": name}).encode())
        super().__init__(where, Handler, tls_context(tls) if tls else None)


class Web(Server):
    """HTTP: says where a request arrived; /stream goes on and on."""

    class Handler(Http):
        def do_GET(self):  # pylint: disable=invalid-name
            if self.path == "/stream":
                self.stream()
            else:
                self.answer("{}:{}".format(*self.connection.getsockname()).encode())

        def stream(self):
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            while True:  # until the other side goes
                self.wfile.write(b"line\n")
                time.sleep(0.05)  # its pace

    def __init__(self, where):
        super().__init__(where, self.Handler)


class Says(Server):
    """TCP: says its name and closes."""

    def __init__(self, where, name):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.sendall(name.encode())
        super().__init__(where, Handler)


class Lines(Server):
    """TCP: says each line again."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                self.wfile.write(b"got " + line)

    def __init__(self, where):
        super().__init__(where, self.Handler)
