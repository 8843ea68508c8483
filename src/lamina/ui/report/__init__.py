"""The report of a build as a page, a picture, Markdown and JSON.

Everything that comes from a build (names, output, paths) is untrusted: the page escapes all of it,
loads nothing, and allows by its content security policy no other script than its own.
"""
