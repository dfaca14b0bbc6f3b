"""The description of a baseline that is no network: a line, fitted by least squares."""

LINE_BASELINE = {
    "label": "Line",
    "contract": "estimator",
    "cite": {"key": "hastie2009", "url": "https://example.org"},
    "axes": [],
    "settings": {},
    "tasks": {"classification": {"skip": "a line has no classes"}},
    "example": {"problem": {"family": "function_fitting", "inputs": 2, "outputs": 1}, "settings": {}},
}
