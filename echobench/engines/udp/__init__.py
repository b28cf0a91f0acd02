"""UDP in batches: one system call receives many datagrams, one sends their answers."""
