"""Waiting in tests of processes."""

from __future__ import annotations

import time

SECONDS = 60.0


def eventually(true, seconds: float = SECONDS) -> bool:
    """Tell whether `true()` holds before so many seconds are over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False
