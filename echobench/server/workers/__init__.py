"""Workers: several processes that serve one port, and the parent that starts them and holds their sockets.

The parent binds a socket for each worker, keeps all of them open, and neither reads from them nor has an engine. A
worker is a new Python that is given its sockets by descriptor. So what waits on a socket of a worker that died is
still there when its successor comes.
"""
