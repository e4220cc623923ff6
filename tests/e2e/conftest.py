"""Labs for the tests, and what holds after each of them: nothing trapped, no worker lost."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import Lab  # noqa: E402 (the path comes first)

FULL, HEADERS_FIRST = "standalone.yaml", "headers-first.yaml"
FAILOVER, FAILOVER_PRIORITY = "failover.yaml", "failover-priority.yaml"


@contextmanager
def sound(lab):
    """A running lab; in the end no VM has trapped and Envoy has said nothing critical."""
    with lab:
        yield lab
        reloads = {name: n for name, n in lab.envoy.stats("vm_reload").items() if n}
        assert not reloads, f"a VM trapped: {reloads}\n{lab.envoy.log.read_text()[-3000:]}"
        assert lab.envoy.process.running()
    log = lab.envoy.log.read_text()
    for word in ("panicked", "wasm trap", "Uncaught", "[critical]"):
        assert word not in log, "\n".join(line for line in log.splitlines() if word in line)


@pytest.fixture
def start(tmp_path):
    """Starts a lab for one test: `start(patch, …, file=…)`."""
    labs = []

    def begin(*patches, **more):
        directory = tmp_path / str(len(labs))
        directory.mkdir()
        labs.append(stack.enter_context(sound(Lab(directory, *patches, **more))))
        return labs[-1]

    with ExitStack() as stack:
        yield begin


@pytest.fixture(scope="module")
def start_once(tmp_path_factory):
    """Starts a lab that all tests of a module share; who asks for the same gets the same."""
    labs = {}

    def begin(*patches, **more):
        key = json.dumps([patches, more], sort_keys=True, default=repr)
        if key not in labs:
            labs[key] = stack.enter_context(sound(Lab(tmp_path_factory.mktemp("lab"), *patches, **more)))
        return labs[key]

    with ExitStack() as stack:
        yield begin


@pytest.fixture
def lab(shared):
    """The module's lab (its fixture `shared`), with nothing left of the test before."""
    shared.reset()
    shared.envoy.skip_records()
    return shared


def at_once(count, action):
    """The answers of `count` calls `action(number)` that run at the same time."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(action, range(count)))
