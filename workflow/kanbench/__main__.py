"""Entry point of `python -m kanbench`."""

import sys

from kanbench.client import delegate

status = delegate(sys.argv[1:])
if status is None:
    from kanbench.cli import main

    status = main()
sys.exit(status)
