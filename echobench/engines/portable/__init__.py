"""All that stands on Twisted's own transports, and so works with every reactor."""
