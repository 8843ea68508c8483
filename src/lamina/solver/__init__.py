"""What is needed, in what order, and what of it is already there. Knows no kinds of operation and
no drivers.
"""
