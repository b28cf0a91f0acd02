"""The load engine for every platform, on Twisted; it also has TLS and the connect model."""
