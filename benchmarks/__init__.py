"""Measurements, one command each: ``python -m benchmarks`` lists and runs them."""

from __future__ import annotations

# First of all: it sets how OpenMP threads wait, which torch reads when it is imported.
import helpers as helpers
