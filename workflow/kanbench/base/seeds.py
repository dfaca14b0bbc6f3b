"""Random numbers for separate purposes from one seed, and global generators left as they were found."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive(seed: int, purpose: str) -> int:
    """Return a 63-bit seed that differs for every pair of seed and purpose."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator for one purpose, on `device`."""
    return torch.Generator(device=device).manual_seed(derive(seed, purpose))


def numpy_generator(seed: int, purpose: str) -> np.random.Generator:
    """Return a NumPy generator for one purpose."""
    return np.random.default_rng(derive(seed, purpose))


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and `random` inside the block and restore them after it.

    Model constructors draw from the global generators, and some reseed them; neither reaches beyond the block.
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive(seed, purpose))
        np.random.seed(derive(seed, purpose) % 2**32)  # noqa: NPY002 - third-party constructors draw from it
        random.seed(derive(seed, purpose))
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
