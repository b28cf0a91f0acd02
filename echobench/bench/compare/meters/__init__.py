"""What a server uses while it is loaded: processor time, memory, system calls."""
