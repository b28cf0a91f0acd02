"""Faults on purpose: which there are, how they are written, and what they do to the answers of one flow.

All here is pure: times and random numbers are given. ``engines/portable/`` puts it on connections and datagrams. No
module imports any of it unless the server was asked for a fault.
"""
