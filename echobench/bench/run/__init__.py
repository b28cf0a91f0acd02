"""One run as values: the plan, what is counted, the result, and what is said of it."""
