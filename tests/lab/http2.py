"""A client that speaks HTTP/2 frame by frame: where a stream ends, trailers, and resets are the test's own choice."""

import socket
import time

import h2.config
import h2.connection
import h2.events

from .client import Answer


class Stream:
    """One request on a connection of its own; `answer` reads until the other side has ended it."""

    def __init__(self, port, timeout=30):
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.connection.initiate_connection()
        self.id = self.connection.get_next_available_stream_id()
        self.status, self.headers, self.body, self.trailers = 0, {}, b"", {}
        self.ended = self.broken = False
        self._flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _flush(self):
        self.socket.sendall(self.connection.data_to_send())

    def head(self, path, headers, end=False):
        """The head of a POST."""
        fields = {":method": "POST", ":scheme": "http", ":authority": "lab", ":path": path,
                  "content-type": "application/json", **headers}
        self.connection.send_headers(self.id, list(fields.items()), end_stream=end)
        self._flush()
        return self

    def data(self, body, end=False):
        """A part of the body, in frames as large as flow control allows; an empty one is a frame too."""
        while len(body) > (room := self._room()):
            self.connection.send_data(self.id, body[:room])
            self._flush()
            body = body[room:]
        self.connection.send_data(self.id, body, end_stream=end)
        self._flush()
        return self

    def _room(self):
        while not (room := min(self.connection.local_flow_control_window(self.id),
                               self.connection.max_outbound_frame_size)):
            self._read()
        return room

    def trailer(self, **fields):
        """Ends the request with trailers."""
        fields = [(name.replace("_", "-"), value) for name, value in fields.items()]
        self.connection.send_headers(self.id, fields, end_stream=True)
        self._flush()
        return self

    def reset(self):
        """RST_STREAM with CANCEL, as a client does that gives up one request and keeps its connection."""
        self.connection.reset_stream(self.id, 8)
        self._flush()

    def read(self, at_least):
        """Reads until so many bytes of the body are there."""
        while len(self.body) < at_least and not self.ended:
            self._read()
        return self

    def answer(self):
        began = time.monotonic()
        while not self.ended:
            self._read()
        return Answer(self.status, self.headers, self.body, self.broken, time.monotonic() - began)

    def _read(self):
        data = self.socket.recv(65536)
        if not data:
            self.ended = self.broken = True
            return
        for event in self.connection.receive_data(data):
            self._take(event)
        self._flush()

    def _take(self, event):
        if isinstance(event, h2.events.ResponseReceived):
            self.headers = {name: value for name, value in event.headers if not name.startswith(":")}
            self.status = int(dict(event.headers)[":status"])
        elif isinstance(event, h2.events.DataReceived):
            self.body += event.data
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers = dict(event.headers)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)):
            self.broken |= not isinstance(event, h2.events.StreamEnded)
            self.ended = True
