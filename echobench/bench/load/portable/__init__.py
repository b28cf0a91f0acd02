"""The load engine for every platform, on Twisted; also TLS, and connections that come and go."""
