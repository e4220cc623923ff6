"""A client that shows everything: the status, all headers, the bytes, and when they came."""

import http.client
import json
import time


class Answer:
    """A whole answer; `broken` says that it ended before its end, status 0 that there was none at all."""

    def __init__(self, status, headers, body, broken=False, seconds=0.0):
        self.status, self.headers, self.body, self.broken, self.seconds = status, headers, body, broken, seconds

    @property
    def text(self):
        return self.body.decode(errors="replace")

    def json(self):
        return json.loads(self.body)

    def events(self):
        """The `data:` of an event stream, parsed where it is JSON."""
        lines = (line[5:].strip() for line in self.text.splitlines() if line.startswith("data:"))
        return [json.loads(line) if line[:1] in "{[" and line != "[DONE]" else line for line in lines]

    def __repr__(self):
        return f"Answer({self.status}, {self.headers}, {self.text[:300]!r}, broken={self.broken})"


class Client:
    """Requests to one port of loopback, a connection each."""

    def __init__(self, port, headers=None, timeout=60):
        self.port, self.headers, self.timeout = port, headers or {}, timeout

    def with_headers(self, **headers):
        """The same with further headers, `_` for `-` in names."""
        more = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        return Client(self.port, {**self.headers, **more}, self.timeout)

    def open(self, method, path, body=None, headers=None):
        """Sends a request; answers the connection, whose response hasn't been read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
        body = body.encode() if isinstance(body, str) else body
        try:
            connection.request(method, path, body, {**self.headers, **(headers or {})})
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all was sent; the answer may be there all the same
        return connection

    def request(self, method, path, body=None, headers=None):
        began = time.monotonic()
        connection = self.open(method, path, body, headers)
        try:
            try:
                response = connection.getresponse()
            except (ConnectionResetError, http.client.HTTPException):
                return Answer(0, {}, b"", True, time.monotonic() - began)
            names = {name.lower(): value for name, value in response.getheaders()}
            try:
                content, broken = response.read(), False
            except http.client.IncompleteRead as error:
                content, broken = error.partial, True
            return Answer(response.status, names, content, broken, time.monotonic() - began)
        finally:
            connection.close()

    def post(self, path, document, headers=None):
        """Posts JSON; bytes and texts go as they are."""
        body = document if isinstance(document, (bytes, str)) else json.dumps(document)
        return self.request("POST", path, body, {"content-type": "application/json", **(headers or {})})

    def chat(self, content="How deep is the water?", model="gpt-4o", headers=None, **fields):
        """An OpenAI chat completion."""
        messages = [{"role": "user", "content": content}]
        return self.post("/v1/chat/completions", {"model": model, "messages": messages, **fields}, headers)

    def messages(self, content="How deep is the water?", model="claude-sonnet-4-5", headers=None, **fields):
        """An Anthropic message."""
        document = {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": content}], **fields}
        return self.post("/v1/messages", document, headers)
