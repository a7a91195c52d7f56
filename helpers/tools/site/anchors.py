"""Ids of headings, as JupyterLab makes them; Sphinx calls this while it builds."""

from __future__ import annotations

import re


def anchor(heading: str) -> str:
    """Return the id of a heading: its text, hyphens for spaces."""
    return re.sub(r"[`*]", "", heading).replace(" ", "-")
