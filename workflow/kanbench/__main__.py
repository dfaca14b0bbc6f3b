"""Entry point of `python -m kanbench`."""

import sys

from kanbench.process.client import delegate

status = delegate(sys.argv[1:])
if status is None:
    from kanbench.cli.parser import main

    status = main()
sys.exit(status)
