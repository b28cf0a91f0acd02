"""``echobench ladder``: the same echo on one idea after another, measured on the machine of who reads it."""
