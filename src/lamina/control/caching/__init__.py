"""External caches in a build: where they are, what is read of them, what is written."""
