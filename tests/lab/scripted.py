"""An upstream whose every byte is the test's own choice, and which keeps every byte that it was sent."""

import socket
import socketserver
import threading


class Scripted:
    """A server on loopback: `script(connection, request, number)` answers each connection's one request.

    `requests` holds all of them, head and body as they came.
    """

    def __init__(self, script):
        self.requests, self._lock = [], threading.Lock()
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                request = _read(self.request)
                if not request:
                    return
                with outer._lock:
                    outer.requests.append(request)
                    number = len(outer.requests)
                script(self.request, request, number)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server.daemon_threads, self.server.request_queue_size = True, 512
        self.server.server_bind()
        self.server.server_activate()
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def _read(connection):
    """One request, by its content-length."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = _more(connection)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    length = next((int(value) for name, _, value in lines if name == b"content-length"), 0)
    while len(body) < length:
        body += _more(connection) or b"\0"
    return head + b"\r\n\r\n" + body


def _more(connection):
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def answer(connection, status, body, content_type="application/json", **headers):
    """A whole answer; the connection ends with it."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} Scripted\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n"
    connection.sendall(f"{head}{more}connection: close\r\n\r\n".encode() + body)


def reset(connection):
    """Breaks the connection off with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
