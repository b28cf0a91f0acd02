"""A comparison as a value, and all that is computed from it.

The functions are pure: a stored comparison gives the same rows as a new one.
"""
