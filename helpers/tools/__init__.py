"""The course author's tools, behind ``python -m helpers``."""
