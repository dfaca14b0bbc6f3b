"""What the contract check says, and how it is printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = "schema"
"""The rule that comes first: baseline.yaml is valid."""
MAX_MESSAGE = 1500
"""Characters of a message; a model may have thousands of parameters to complain about."""


@dataclass(frozen=True)
class RuleResult:
    """Outcome of one rule for one method.

    `ok` is None where the rule could not be tried or is waived; `message` says why, `text` what the rule is.
    """

    method: str
    rule: str
    ok: bool | None
    message: str
    text: str = "baseline.yaml is valid."

    def __post_init__(self):
        if len(self.message) > MAX_MESSAGE:
            object.__setattr__(self, "message", f"{self.message[: MAX_MESSAGE - 1]}…")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def report(results: Iterable[RuleResult]) -> int:
    """Print the outcomes by method; return 1 where a rule is broken, else 0."""
    by_method: dict[str, list[RuleResult]] = {}
    for result in results:
        by_method.setdefault(result.method, []).append(result)
    for method, outcomes in by_method.items():
        tried = [result for result in outcomes if result.ok is not None]
        skipped = any(result.rule == "builds" and result.ok is None for result in outcomes)
        kept = f"{sum(bool(result.ok) for result in tried)} of {len(tried)} rules kept"
        print(f"{method}: {'skipped, the model was not tried' if skipped else kept}")
        for result in outcomes:
            if result.ok is None:
                print(f"  {result.rule}: {result.message}")
            elif not result.ok:
                print(f"  {result.rule} is BROKEN: {result.message}\n      the rule: {result.text}")
    return int(any(result.ok is False for outcomes in by_method.values() for result in outcomes))
