"""COPY, ADD and WORKDIR: which files are taken, and the layer that they make."""
