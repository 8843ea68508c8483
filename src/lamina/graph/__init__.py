"""A build as values: vertices that name an operation and their inputs. Nothing here does work."""
