"""Exercise 1: the p99 of a minute, from the times of its parts."""


def percentile(times, part):
    """Give the time that this part of the answers did not exceed."""
    return sorted(times)[max(0, round(part * len(times)) - 1)]


def whole(parts):
    """Give the p99 of all answers; ``parts`` are lists of times."""
    return sum(percentile(times, 0.99) for times in parts) / len(parts)
