"""What goes into a cache key, by name, and how two keys differ."""
