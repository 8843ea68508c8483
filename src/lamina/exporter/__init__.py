"""Outputs: one file a kind, all with the same face (`port.Exporter`).

    BuiltImage ──► config, layers as blobs ──► manifest, index ──► archive, folder, store
                   image   blobs               manifests           oci docker tar local store

The kinds do not know each other; which one is meant is decided in `lamina.control`.
"""
