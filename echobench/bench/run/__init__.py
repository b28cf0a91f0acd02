"""One run as values: its plan, its counts, its result and the verdicts on it."""
