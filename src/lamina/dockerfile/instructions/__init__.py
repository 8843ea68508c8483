"""Syntax to typed instructions, the way BuildKit reads them."""
