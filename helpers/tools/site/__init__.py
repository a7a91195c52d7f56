"""The web site of the course, made from its notebooks: `python -m helpers site`."""
