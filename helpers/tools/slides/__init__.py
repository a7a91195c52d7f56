"""A reveal.js deck a notebook: `make slides`, twin `python -m helpers slides`."""
