"""External caches: one file a backend, and the documents that all of them hold."""
