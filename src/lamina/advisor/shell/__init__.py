"""Shell commands inside RUN, understood by a real parser of shell."""
