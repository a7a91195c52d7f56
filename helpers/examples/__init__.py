"""Programs that a notebook cannot be: they are started by a launcher."""
