"""Processes and what they share: the preloaded server and its client, the watch over a run, locks.

In comes a command line, `python -m kanbench <verb> …`. Out goes its exit status, from this process or from a child
that `server` forked, for its `client`, with the packages imported already. `watch` runs work in a child and knows how
it ended, `tree` ends all that it started, `owner` names a process so that others can ask whether it lives, and
`locks` keeps two runs that report times off one device.

Imports `base`.
"""
