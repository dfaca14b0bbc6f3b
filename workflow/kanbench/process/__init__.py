"""Processes and what they share: the preloaded server, its client, and the lock of a device.

In comes a command line, `python -m kanbench <verb> …`. Out goes its exit status, from this process or from a child
that `server` forked with the packages imported already; `locks` keeps two runs that report times off one device.

Imports nothing of the harness.
"""
