"""What Sphinx reads in its own environment; nothing here is imported by the course."""
