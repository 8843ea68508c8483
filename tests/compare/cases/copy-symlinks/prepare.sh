mkdir folder/sub && echo s >folder/sub/s
ln -s file folder/to-file && ln -s sub folder/to-folder && ln -s nowhere folder/dangling && ln -s /etc/passwd folder/absolute
