"""What earlier builds left: the index of key to record, and the folders of cache mounts."""
