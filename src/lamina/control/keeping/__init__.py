"""The space that the store takes: what is there, what goes first, and making room."""
