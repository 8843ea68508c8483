"""The small notations that Docker's tools share, wherever they are written."""
