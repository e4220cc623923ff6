"""Providers that are broken in every way that a connection can be: what each sends, byte by byte.

`SCRIPTS` has them by name; each is called as `script(connection, request)`. What an answer begins with is the provider's
own protocol, whole or streamed, as the request asks.
"""

import gzip
import os
import re
import signal
import socket
import time
from contextlib import contextmanager
from pathlib import Path

from .process import ROOT
from .scripted import reset
from .waiting import until

SAMPLES = ROOT / "tests/samples"
#: Longer than any timeout of a policy that is tested with these.
LONG = 60


def sample(request):
    """The answer that a healthy provider would give: its type and its body."""
    kind = "message" if b"/v1/messages" in request else "chat"
    if b'"stream":true' in request.replace(b" ", b""):
        return "text/event-stream", (SAMPLES / f"{kind}_stream.sse").read_bytes()
    return "application/json", (SAMPLES / f"{kind}.json").read_bytes()


def head(content_type, *lines):
    return ("\r\n".join(["HTTP/1.1 200 OK", f"content-type: {content_type}", *lines]) + "\r\n\r\n").encode()


def whole(connection, request, change=lambda body: body, *lines, length=0):
    """A sample, changed; its length is told `length` too high."""
    content_type, body = sample(request)
    body = change(body)
    connection.sendall(head(content_type, f"content-length: {len(body) + length}", "connection: close", *lines) + body)


def silent(connection, _):
    """Took the request and says nothing; goes when it is left."""
    _until_left(connection)


def _until_left(connection, seconds=LONG):
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass


def slow(connection, request):
    """A good answer, and too late."""
    _until_left(connection, LONG / 2)
    _quietly(lambda: whole(connection, request))


def drips(connection, request):
    """One byte a second."""
    content_type, body = sample(request)
    _quietly(lambda: connection.sendall(head(content_type, f"content-length: {len(body)}")))
    for byte in body[:LONG]:
        if not _quietly(lambda: connection.sendall(bytes([byte]))):
            return
        time.sleep(1)


def stalls(connection, request):
    """Half an answer, then nothing."""
    content_type, body = sample(request)
    connection.sendall(head(content_type, f"content-length: {len(body)}") + body[:len(body) // 2])
    _until_left(connection)


def _quietly(action):
    try:
        action()
        return True
    except OSError:
        return False


def resets_before(connection, _):
    reset(connection)


def resets_after_head(connection, request):
    content_type, body = sample(request)
    connection.sendall(head(content_type, f"content-length: {len(body)}"))
    reset_once_read(connection)


def resets_midway(connection, request):
    content_type, body = sample(request)
    connection.sendall(head(content_type, f"content-length: {len(body)}") + body[:len(body) // 2])
    reset_once_read(connection)


def reset_once_read(connection):
    """Breaks off once the peer has read all: a reset overtakes what isn't read yet."""
    ours, theirs = (_address(*end) for end in (connection.getsockname(), connection.getpeername()))
    time.sleep(0.05)  # the table is long
    until(lambda: not _queued(ours, theirs), what="the peer", pause=0.1)
    reset(connection)


def _address(host, port):
    """An IPv4 address as Linux writes it."""
    return f"{socket.inet_aton(host)[::-1].hex()}:{port:04x}"


def _queued(ours, theirs):
    """What a connection on this machine has still to carry: bytes that aren't taken off us, or that the peer hasn't read."""
    table = Path("/proc/net/tcp").read_text().lower()
    found = [re.search(f" {one} {other} \\w+ (\\w+):(\\w+)", table) for one, other in ((ours, theirs), (theirs, ours))]
    sent, read = (match and (int(match[1], 16), int(match[2], 16)) for match in found)
    return (sent[0] if sent else 0) + (read[1] if read else 0)


def closes_midway(connection, request):
    content_type, body = sample(request)
    connection.sendall(head(content_type, f"content-length: {len(body)}") + body[:len(body) // 2])


def no_http(connection, _):
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n" + bytes(range(256)) * 8)


def garbage(connection, request):
    whole(connection, request, lambda _: bytes(range(256)) * 8)


def wrong_type(connection, request):
    """An error page where an answer should be."""
    page = b"<html><body><h1>It works!</h1></body></html>"
    connection.sendall(head("text/html", f"content-length: {len(page)}", "connection: close") + page)


def too_long(connection, request):
    whole(connection, request, length=100)


def too_short(connection, request):
    """More bytes than were told; the rest belongs to nobody."""
    whole(connection, request, length=-20)


def bad_chunks(connection, request):
    content_type, body = sample(request)
    part = body[:200]
    connection.sendall(head(content_type, "transfer-encoding: chunked") + f"{len(part):x}\r\n".encode() + part + b"\r\nXYZ\r\n" + part)


def false_gzip(connection, request):
    """Says that it is packed, and isn't."""
    whole(connection, request, lambda body: body, "content-encoding: gzip")


def cut_gzip(connection, request):
    """Is packed, though nobody asked for it, and its end is missing."""
    whole(connection, request, lambda body: gzip.compress(body)[:-20], "content-encoding: gzip")


SCRIPTS = {
    "half-open: no answer": silent, "too slow": slow, "one byte a second": drips, "stalls midway": stalls,
    "reset before the head": resets_before, "reset after the head": resets_after_head, "reset midway": resets_midway,
    "closed midway": closes_midway, "no HTTP": no_http, "garbage": garbage, "an HTML page": wrong_type,
    "content-length too high": too_long, "content-length too low": too_short, "bad chunks": bad_chunks,
    "gzip that isn't": false_gzip, "gzip without its end": cut_gzip,
}


@contextmanager
def stopped(mock):
    """Meanwhile a mock's process stands still; should anything wake it, it holds its answers back all the same."""
    mock.faults(hold="stopped")
    os.kill(mock.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(mock.process.pid, signal.SIGCONT)
        mock.faults()
        mock.release("stopped")


class Unreachable:
    """A port whose packets are dropped without a word: its queue of connections is full."""

    def __enter__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.port = self.listener.getsockname()[1]
        self.fill = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.port))
            self.fill.append(one)
        return self

    def __exit__(self, *_):
        for one in (*self.fill, self.listener):
            one.close()
