"""Exercise 2: is the new server faster than the old one?"""


def faster(ratios):
    """Tell it from the ratio of their rates in each round, of which there are 2 to 10."""
    return sum(ratios) / len(ratios) > 1.01
