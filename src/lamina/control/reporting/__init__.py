"""What `lamina report` gathers besides the record."""
