"""The command ``echobench nic``: receive queues shown, watched, changed, and the change proved."""
