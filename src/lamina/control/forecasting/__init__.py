"""What a cache would have done over the history of a repository."""
