"""Exercise 2, solved: it is if the whole interval of the mean is above 1 (Student, 95 %)."""

import math
import statistics

T = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # two-sided 95 %, 1 to 9 degrees of freedom


def faster(ratios):
    """Tell it from the ratio of their rates in each round, of which there are 2 to 10."""
    logarithms = [math.log(ratio) for ratio in ratios]  # so that twice as fast and half as fast are equally far from 1
    half = T[len(ratios) - 2] * statistics.stdev(logarithms) / math.sqrt(len(ratios))
    return statistics.fmean(logarithms) - half > 0
