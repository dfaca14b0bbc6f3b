"""The benchmark harness: plans, trains, measures, collects and renders. Run `python -m kanbench --help`."""

PROTOCOL = 3
"""Version of data, loop and metrics. Records of another protocol are set aside, never mixed in."""
