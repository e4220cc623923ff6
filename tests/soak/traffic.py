"""What a soak sends: every kind of exchange, good and bad, at a fixed rate, and what each must come to.

Its one invariant: each answer is either what its kind expects, or an error that somebody will read of.
"""

import json
import random
import threading
import time
from collections import Counter, defaultdict, deque

from lab import Client
from lab.scripted import reset

#: Whose budget is audited, and who has none left.
CALLER, POOR = "soak", "poor"
ORDER = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
MAIL = "ann.lee@example.com"


class Unexpected(Exception):
    """An answer that its kind doesn't expect; no fault that was injected explains it."""


def expect(truth, answer):
    if not truth:
        raise Unexpected(repr(answer))


class Sender:
    """The requests of one kind each; every method is a kind, sent with its name as the model.

    Each answers the tokens that the provider states, where that is known, else nothing.
    """

    def __init__(self, port, plain):
        self.client, self.plain = Client(port, {"x-tenant": CALLER}, 30), Client(plain, {}, 30)
        self.poor = Client(port, {"x-tenant": POOR}, 30)

    def whole(self, rng):
        """Paired with the same to the same provider, past Spillway; answers both times too."""
        usage, headers = _usage(rng)
        asks = [lambda: self.client.chat(model="whole", headers=headers), lambda: self.plain.chat(headers=headers)]
        first = rng.randrange(2)
        answers = {at: asks[at]() for at in (first, 1 - first)}
        expect([answers[at].status for at in (0, 1)] == [200, 200], answers)
        return usage, (answers[0].seconds, answers[1].seconds)

    def streamed(self, rng):
        usage, headers = _usage(rng, x_mock_events=rng.randrange(2, 30), x_mock_gap_ms=2)
        got = self.client.chat(model="streamed", stream=True, headers=headers)
        expect(got.status == 200 and got.events()[-1] == "[DONE]" and not got.broken, got)
        return usage

    def message(self, rng):
        usage, headers = _usage(rng)
        got = self.client.messages(model="message", stream=rng.random() < 0.5, headers=headers)
        expect(got.status == 200 and not got.broken, got)
        return usage

    def translated(self, rng):
        usage, headers = _usage(rng)
        streams = rng.random() < 0.5
        got = self.client.chat(model="translated", stream=streams, headers=headers)
        expect(got.status == 200 and (got.events()[-1] == "[DONE]" if streams else got.json()["choices"]), got)
        return usage

    def long(self, rng):
        """A prompt of some 20 KB, so that tokens are counted on samples."""
        usage, headers = _usage(rng)
        words = " ".join(rng.choice(("water", "stone", "mill", "wheel", "{", "über", "0x3f")) for _ in range(4_000))
        expect((got := self.client.chat(words, model="long", headers=headers)).status == 200, got)
        return usage

    def guarded(self, rng):
        usage, headers = _usage(rng, x_mock_content="I write to [EMAIL_1].")
        got = self.client.chat(f"Write to {MAIL}, please.", model="guarded", stream=rng.random() < 0.5, headers=headers)
        text = "".join(_said(got)) if "event-stream" in got.headers.get("content-type", "") else got.text
        expect(got.status == 200 and MAIL in text and "EMAIL_1" not in text, got)
        return usage

    def checked(self, rng):
        usage, headers = _usage(rng, x_mock_content='{"id":"7"}')
        expect((got := self.client.chat(model="checked", headers=headers)).status == 200, got)
        return usage

    def invalid(self, rng):
        usage, headers = _usage(rng, x_mock_content='{"id":7}')
        expect((got := self.client.chat(model="invalid", headers=headers)).status == 502, got)
        return usage

    def refused(self, rng):
        kind = rng.randrange(4)
        if kind == 0:
            expect((got := self.poor.chat(model="refused")).status == 429, got)
        elif kind == 1:
            expect((got := self.client.post("/v1/chat/completions", b'{"model":')).status == 400, got)
        elif kind == 2:
            expect((got := self.client.chat(model="nobody's")).status in (400, 404), got)
        else:
            expect((got := Client(self.client.port).chat(model="refused")).status == 401, got)

    def moved(self, rng):
        """The first provider fails in a way of its own choice: Envoy's router goes to the second."""
        streams = rng.random() < 0.5
        got = self.client.chat(model="moved", stream=streams)
        expect(got.status == 200 and (got.events()[-1] == "[DONE]" if streams else got.json()["choices"]), got)

    def called(self, rng):
        """The same by a call of the gateway's own. A stream that breaks between its head and its first token is Envoy's to
        answer: no filter hears of it while it holds the head.
        """
        streams = rng.random() < 0.3
        got = self.client.chat(model="called", stream=streams)
        expect(got.status == 200 or (streams and got.status == 502 and "reset before headers" in got.text), got)

    def foreign(self, rng):
        """The same, to a provider of another dialect."""
        got = self.client.chat(model="foreign", stream=rng.random() < 0.5)
        expect(got.status == 200, got)

    def exhausted(self, _):
        expect((got := self.client.chat(model="exhausted")).status in (502, 503, 504), got)

    def tripping(self, _):
        """A provider whose breaker opens, tries and closes as the provider comes and goes."""
        expect((got := self.client.chat(model="tripping")).status == 200, got)

    def broken(self, rng):
        """An answer that ends before its end."""
        if rng.random() < 0.5:
            got = self.client.chat(model="broken", stream=True, headers={"x-mock-reset-after": "3"})
            expect(got.status == 200 and "[DONE]" not in got.text, got)
        else:
            body = rng.choice(("not-json", "truncated", "html", "empty", "deep", "no-usage", "negative-usage"))
            # Tokens nobody has used aren't charged; only that something comes is certain here.
            expect((got := self.client.chat(model="broken", headers={"x-mock-body": body})).status, got)

    def aborted(self, rng):
        """A client that goes: in the middle of its request, while it waits, in the middle of a stream."""
        document = {"model": "aborted", "stream": True, "messages": [{"role": "user", "content": "How deep is it?"}]}
        body, phase = json.dumps(document), rng.randrange(3)
        headers = {"content-type": "application/json", "x-mock-events": "40", "x-mock-gap-ms": "20"}
        if phase == 0:
            headers["content-length"] = str(len(body) * 2)
        if phase == 1:
            headers["x-mock-delay-headers-ms"] = "400"
        connection = self.client.open("POST", "/v1/chat/completions", body, headers)
        gone = connection.sock
        try:
            if phase == 2:
                connection.getresponse().read1()
            else:
                time.sleep(rng.random() * 0.2)
        finally:
            reset(gone)
            connection.close()


#: Of a hundred requests.
MIX = {"whole": 24, "streamed": 14, "message": 6, "translated": 6, "long": 4, "guarded": 7, "checked": 5, "invalid": 4,
       "refused": 6, "moved": 6, "called": 5, "foreign": 3, "exhausted": 1, "tripping": 3, "broken": 3, "aborted": 3}


def _usage(rng, **more):
    asked, said = rng.randrange(10, 200), rng.randrange(1, 300)
    headers = {name.replace("_", "-"): str(value) for name, value in more.items()}
    return asked + said, {"x-mock-usage": f"{asked},{said}", **headers}


def _said(got):
    for event in got.events():
        if isinstance(event, dict) and event.get("choices"):
            yield event["choices"][0].get("delta", {}).get("content") or ""


class Traffic:
    """Sends at `rate` a second from `threads` threads while it isn't paused; keeps what came of it."""

    def __init__(self, sender, rate, threads=32, seed=7):
        self.sender, self.rate = sender, rate
        self.sent, self.tokens = Counter(), Counter()
        self.known = defaultdict(int)
        self.errors, self.pairs = deque(maxlen=1000), []
        self.wrong = 0
        self._go, self._over, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._slots, self._busy = time.monotonic(), 0
        self._threads = [threading.Thread(target=self._run, args=(random.Random(seed * 1000 + n),), daemon=True)
                         for n in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.resume()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._go.set()
        for thread in self._threads:
            thread.join(40)

    def resume(self):
        self._slots = time.monotonic()
        self._go.set()

    def pause(self, patience=60):
        """Nothing is sent any more when this comes back; whether all that was sent has ended."""
        self._go.clear()
        until = time.monotonic() + patience
        while self._busy and time.monotonic() < until:
            time.sleep(0.02)
        return not self._busy

    def take_pairs(self):
        """Seconds with and without Spillway, since this was last asked."""
        with self._lock:
            pairs, self.pairs = self.pairs, []
        return pairs

    def _run(self, rng):
        names, weights = list(MIX), list(MIX.values())
        while not self._over.is_set():
            self._go.wait()
            self._pace()
            with self._lock:
                if not self._go.is_set() or self._over.is_set():
                    continue
                self._busy += 1
            name = rng.choices(names, weights)[0]
            try:
                self._note(name, getattr(self.sender, name)(rng), None)
            except (Unexpected, OSError, ValueError, LookupError, TypeError) as error:
                self._note(name, None, error)
            finally:
                with self._lock:
                    self._busy -= 1

    def _pace(self):
        """Waits for the next free slot of the schedule; a schedule that is behind isn't caught up with."""
        with self._lock:
            now = time.monotonic()
            self._slots = max(self._slots + 1 / self.rate, now - 0.5)
            wait = self._slots - now
        time.sleep(max(0.0, wait))

    def _note(self, name, result, error):
        with self._lock:
            self.sent[name] += 1
            if error is not None:
                self.wrong += 1
                self.errors.append(f"{time.strftime('%H:%M:%S')} {name}: {type(error).__name__}: {str(error)[:600]}")
            if isinstance(result, tuple):
                result, pair = result
                self.pairs.append(pair)
            if result is not None:
                self.tokens[name] += result
