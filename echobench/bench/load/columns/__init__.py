"""The fast load engine, for Linux: many sockets at a time, as columns of a table."""
