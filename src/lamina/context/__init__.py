"""The build context: which files it holds, and their digests, read once."""
