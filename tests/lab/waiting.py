"""Waiting for what must come, on machines that may stall any process for seconds."""

import time

#: More than any stall; only a test that fails waits so long.
PATIENCE_S = 30
#: So long a program may take that is run to its end: a validation compiles the module, 16 s on a busy machine.
PROGRAM_S = 180


def until(probe, patience=PATIENCE_S, what=None, pause=0.01):
    """The first true answer of `probe`, asked every `pause` seconds; fails when none comes within `patience` seconds."""
    end = time.monotonic() + patience
    while not (found := probe()):
        assert time.monotonic() < end, f"{what or 'it'} didn't come within {patience} s: {found!r}"
        time.sleep(pause)
    return found


def read_until(response, words):
    """What has come of an answer once `words` are in it; fails at its end."""
    found = b""
    while words not in found:
        more = response.read1()
        assert more, f"the answer ended without {words!r}: {found!r}"
        found += more
    return found
