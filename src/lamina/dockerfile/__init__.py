"""The frontend: Dockerfile text to syntax, to typed instructions, to stages, to the graph."""
