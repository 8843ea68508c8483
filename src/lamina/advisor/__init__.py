"""Rules that find what wastes the cache, fixes for them, and the forecast of what a fix saves."""
