"""TCP by one descriptor under the reactor, which stands for all connections."""
