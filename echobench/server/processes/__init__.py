"""The parent and its workers: a server of several processes."""
