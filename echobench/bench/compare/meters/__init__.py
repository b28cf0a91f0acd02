"""Meters: what a server uses under load (CPU time, memory, system calls)."""
