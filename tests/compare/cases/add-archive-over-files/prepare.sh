mkdir -p tree/folder tree/added && echo new >tree/folder/file && ln tree/folder/file tree/added/hard && chmod 700 tree/folder
tar --owner=0 --group=0 --mtime=@0 -cf over.tar -C tree folder added
rm -r tree
