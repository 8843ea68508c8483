"""The kinds of operation, made executable: one file a kind. What the values mean stands in
`graph.ops`.
"""
