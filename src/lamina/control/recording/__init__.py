"""Records of builds: kept while building, bounded, compared, moved between machines."""
