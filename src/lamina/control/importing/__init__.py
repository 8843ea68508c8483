"""What `lamina import` is made of."""
