"""The live page: what happens on a server now, and happened in the last five minutes."""
