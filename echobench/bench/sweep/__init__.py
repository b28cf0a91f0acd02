"""``echobench sweep``: the highest rate at which a server keeps its limits."""
