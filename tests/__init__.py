"""Tests of the course; `make check` runs them without executing notebooks."""
