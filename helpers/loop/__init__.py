"""What ``fit``, ``evaluate``, ``predict`` and ``cache_features`` are made of."""
