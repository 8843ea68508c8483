"""One file a command; a command's file is imported only when it is used."""
