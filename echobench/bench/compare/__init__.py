"""``echobench compare``: servers side by side, in interleaved rounds."""
