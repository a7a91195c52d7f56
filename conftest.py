"""Every pytest call in this repository gets the notebook hooks."""

pytest_plugins = ["tests.nbval_plugin"]
