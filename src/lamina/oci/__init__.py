"""Values of the OCI specifications: digest, descriptor, manifest, config, platform, reference.

Nothing here does I/O. Documents are `msgspec.Struct`s whose fields carry the specifications' names.
"""
