"""Blobs by digest, their compression, and images as they lie on a disk.

store.BlobStore       an OCI image layout on disk: verified, atomic
images.ImageStore     names of images in it
source.ImageSource    the port of everything that images come from
layout, docker_archive, medium    foreign layouts and archives as image sources
documents             untrusted JSON to values
compression, decompression
"""
