"""Whether a series of samples drifts: robust estimates, so that a few samples of a busy machine prove nothing."""

import statistics


def slope(series):
    """Theil and Sen's: the median of the slopes between all pairs of points (time, value), in value a second."""
    points = thinned(series)
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for at, a in enumerate(points) for b in points[at + 1:] if b[0] > a[0]]
    return statistics.median(slopes) if slopes else 0.0


def thinned(series, most=200):
    """At most so many points, medians of neighbours: pairs grow with the square."""
    size = -(-len(series) // most) or 1
    groups = [series[at:at + size] for at in range(0, len(series), size)]
    return [tuple(statistics.median(column) for column in zip(*group)) for group in groups]


def trend(series):
    """Kendall's: how one-sided the pairs are, from -1 (always falling) to 1 (always growing)."""
    points = thinned(series)
    pairs = [(a[1], b[1]) for at, a in enumerate(points) for b in points[at + 1:]]
    return sum((b > a) - (b < a) for a, b in pairs) / len(pairs) if pairs else 0.0


def growth(series):
    """How much the line through the points rises from the first to the last, in values."""
    return slope(series) * (series[-1][0] - series[0][0]) if len(series) > 1 else 0.0


def drifts(series, share, least=0.0):
    """Whether it grows by more than `share` of its median and by more than `least`, and one-sidedly."""
    if len(series) < 8:
        return False
    middle = statistics.median(value for _, value in series)
    return growth(series) > max(share * abs(middle), least) and trend(series) > 0.3


def climbs(series, least):
    """Whether something that may never fall (a VM's memory) is larger by `least` at the end than in the middle."""
    if len(series) < 8:
        return False
    middle = series[len(series) // 2][0]
    early = max(value for time, value in series if time <= middle)
    return max(value for _, value in series) - early > least


def quantile(values, share):
    """The value that this share of them doesn't exceed; none of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None
