"""Cache mounts that travel: what is in them, beside the records of an external cache.

    mount ──walk──▶ files ──cut──▶ chunks ──compress──▶ packs of about 16 MiB ──▶ backend
                      │                                                             │
                      └── the digest of every content ──▶ manifest ─────────────────┘

Workload: package managers' folders. Thousands of files of some KiB, or dozens of some MiB; between
two builds a few come and a few go, hardly any changes. So the manifest says where every content
lies, by its digest, and a new state says of all that was there before that it lies where it lay:
only new contents are packed and sent, together, wherever they are in the tree. What `stat` says of
a file is remembered beside the mount, so that an unchanged one is not read again.

A large file is cut by its content (FastCDC), so that a list of packages that changed in the middle
is sent in the middle only. Small ones are bundled: a chunk each would cost more than they hold.
Bundles and packs end where the digest of their last part says, not where they are full: two
machines that fill a mount each for itself make mostly the same packs.

What nobody refers to any more stays in its pack until less than half of the pack is of use. Then
what is of use is packed anew, from the disk: nothing is ever fetched to be sent again.

Rejected: a tar a mount (all of it is sent again for one package); a blob a file (thousands of
requests, and a registry's manifest does not hold as many); chunks of one long stream of all files
(a new file would change its neighbours' chunks).
"""
