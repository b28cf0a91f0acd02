"""The fast load engine for Linux: it handles many sockets at a time, as columns of a table."""
