"""UDP in batches: one call receives many datagrams, one sends the answers."""
