"""The load engine for every platform, on Twisted, with TLS and connect."""
