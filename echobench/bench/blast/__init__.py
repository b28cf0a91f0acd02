"""``echobench blast``: one load, one server."""
