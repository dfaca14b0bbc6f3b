"""How a layer is evaluated: the plain definition, and forms that give the same numbers with less memory."""

from __future__ import annotations

from .run import evaluate
from .sources import Amplified, Dense, Generated

__all__ = ["Amplified", "Dense", "Generated", "evaluate"]
