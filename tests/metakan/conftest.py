"""Fixtures of the tests of the engine."""

from __future__ import annotations

import pytest

from metakan import native


@pytest.fixture(scope="module", params=["kernels", "operators"])
def evaluation(request):
    """Run the tests of a module twice on a CPU: with the compiled kernels and with torch's operators."""
    if request.param == "operators":
        with native.disabled():
            yield request.param
    elif not native.active():
        pytest.skip("the CPU kernels are not compiled here")
    else:
        yield request.param
