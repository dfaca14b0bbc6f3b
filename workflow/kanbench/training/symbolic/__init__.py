"""Reads formulas off trained networks and judges them: extraction with pykan's tools, sympy, equivalence."""
