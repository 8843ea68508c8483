"""Outputs: one file a kind, all with the same face (`port.Exporter`).

    BuiltImage ──► finished config, blobs of layers ──► manifest, index ──► archive, folder, store
                   image.py         blobs.py            manifests.py        oci docker tar local store

The kinds do not know each other; which one is meant is decided in `lamina.control`.
"""
