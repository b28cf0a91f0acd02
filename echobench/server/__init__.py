"""The program around the engines: a service, and the commands made of it.

The service can be embedded; the commands are those of twistd and twist.
"""
