"""What `lamina explain` is made of: from two keys to what a user did."""
