"""Network cards: what a driver tells, how packets spread over queues and CPUs, and changes that are proved."""
