"""Exercise 1, solved: a percentile is of all answers, so put the answers together first."""


def percentile(times, part):
    """Give the time that this part of the answers did not exceed."""
    return sorted(times)[max(0, round(part * len(times)) - 1)]


def whole(parts):
    """Give the p99 of all answers; ``parts`` are lists of times."""
    return percentile([time for times in parts for time in times], 0.99)
