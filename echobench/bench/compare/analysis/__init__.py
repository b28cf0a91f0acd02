"""A comparison as a value, and what follows from it: pure functions, so a stored comparison gives the same results."""
