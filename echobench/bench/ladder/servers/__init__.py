"""The lower rungs: one small echo server for each, run by path as ``python blocking.py PORT``, on 127.0.0.1.

They leave out what a real service needs, so that each is its idea and nothing else.
"""
