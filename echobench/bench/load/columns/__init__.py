"""The fast load engine for Linux: it handles many sockets at once, in tables."""
