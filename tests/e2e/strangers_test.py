"""Strangers without number on real Envoy: memory stays what the policy set, an honest caller's account stays hers.

Each stranger is a caller nobody has seen, reserves the maximum and uses all of it, so that no entry ever becomes free
again. `STRANGERS` says how many there are (100,000; the issue's million takes some minutes).
"""

import os

import pytest

from lab import TENANTS, Lab
from lab.load import Strangers, finish

from conftest import sound

CAPACITY = 10_000
LIMITS = {"limits": [
    {"name": "budget", "per": ["caller"], "tokens": f"{CAPACITY}/day", "reserve": "max"},
    {"name": "requests", "per": ["caller", "model"], "requests": "1M/day"},
]}
FIRST, ALL = 10_000, int(os.environ.get("STRANGERS", 100_000))
#: What comes back while the strangers come: a day's refill of 10,000, for ten minutes.
REFILL = 70


@pytest.fixture
def lab(tmp_path):
    # A line for each would be a gigabyte for a million.
    (tmp_path / "access.log").symlink_to(os.devnull)
    with sound(Lab(tmp_path, TENANTS, LIMITS)) as lab:
        yield lab


def flood(lab, honest, strangers, count, seed):
    """`count` strangers, and at the same time the honest caller: what the load generator says, what she was told."""
    process, told = strangers.start(count, seed), []
    while process.running() or not told:
        told.append(honest())
    return finish(process), told


def test_strangers_cost_no_memory_and_an_honest_caller_keeps_her_limit_and_her_debt(lab, record_property):
    def send(use, wanted):
        return lab.tenant("honest").chat(max_tokens=wanted, headers={"x-mock-usage": use})

    def too_much():
        """More than the half that is left; she must be told how much that is."""
        answer = send("0,0", 6_000)
        return answer.status, int(answer.headers["x-ratelimit-remaining-tokens"])

    strangers = Strangers(lab.envoy.port, lab.directory, {"x-mock-usage": f"10,{CAPACITY - 10}"}, max_tokens=1_000_000)
    assert send(f"10,{CAPACITY // 2 - 10}", CAPACITY // 2).status == 200, "half of it, before anybody else comes"
    sizes, refused = {}, 0
    for seed, (upto, count) in enumerate(((FIRST, FIRST), (ALL, ALL - FIRST))):
        report, told = flood(lab, too_much, strangers, count, seed)
        assert report["requests"] == count and report["errors"] == report["refused"], report
        refused += report["refused"]
        assert {status for status, _ in told} == {429}, f"she had half, and asked for more: {told}"
        assert all(CAPACITY // 2 <= left <= CAPACITY // 2 + REFILL for _, left in told), told
        sizes[upto] = lab.envoy.rss()
        print(f"{upto:>9,} strangers: RSS {sizes[upto] / 2**20:.1f} MiB; {report['requests'] / report['seconds']:,.0f}/s, "
              f"{len(told)} times the honest caller")
    print(f"{refused:,} of {ALL:,} refused")
    assert refused > ALL // 2, "they really filled the ledger"
    # It may be less: Envoy's allocator gives back what compiling the module took.
    assert sizes[ALL] - sizes[FIRST] < 8 << 20, sizes

    assert send(f"10,{3 * CAPACITY}", 4_000).status == 200, "her half is still there"
    report, told = flood(lab, too_much, strangers, FIRST, 2)
    assert set(told) == {(429, 0)}, "25,000 of debt, still known"
    wait = int(send("0,0", 1).headers["retry-after"])
    assert wait > 2.4 * 86_400, f"a debt of 25,000 at 10,000 a day: {wait} s"
