"""What `lamina build` is made of."""
