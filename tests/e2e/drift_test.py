"""What a soak calls drift (tests/soak/drift.py): a leak is found in noise, and noise isn't taken for a leak."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "soak"))

from drift import climbs, drifts, growth  # noqa: E402
from picture import draw  # noqa: E402


def samples(rise, noise, count=400, start=280.0):
    """A value every 5 s that rises by `rise` in all, with noise and an outlier now and then."""
    rng = random.Random(7)
    outlier = lambda at: 60 if at % 37 == 0 else 0
    return [(at * 5.0, start + rise * at / count + rng.gauss(0, noise) + outlier(at)) for at in range(count)]


@pytest.mark.parametrize("rise, found", [(0, False), (4, False), (-20, False), (20, True), (100, True)])
def test_a_leak_is_told_from_noise(rise, found):
    assert drifts(samples(rise, noise=3), 0.03, 4) == found


def test_growth_is_what_was_leaked_whatever_the_outliers():
    assert growth(samples(50, noise=3)) == pytest.approx(50, abs=4)


def test_a_few_samples_prove_nothing():
    assert not drifts(samples(1000, noise=0, count=5), 0.03)


def test_a_vm_that_grows_once_and_stays_is_no_leak_and_one_that_grows_late_is():
    early = [(at, 4.2 if at < 10 else 6.0) for at in range(100)]
    late = [(at, 4.2 if at < 70 else 6.0) for at in range(100)]
    assert (climbs(early, 1.0), climbs(late, 1.0)) == (False, True)


def test_the_picture_shows_series_with_gaps():
    svg = draw("t", [("a", "ms", {"x": [(0, 1.0), (5, None), (9, 1000.0)]}), ("b", "", {"y": []})], [(3, "#ccc")], 10)
    assert svg.startswith("<svg") and svg.count("<polyline") == 2 and "None" not in svg
