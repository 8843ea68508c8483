# archives are made anew: a repository is no place for binary files
mkdir -p tree/folder && printf one >tree/one && printf two >tree/folder/two && chmod 640 tree/one
ln -s one tree/link
for letter in "plain.tar:" "gzipped.tgz:z" "bzipped.tar.bz2:j" "xzipped.tar.xz:J"; do
    tar --owner=7 --group=8 --mtime=@0 "-c${letter#*:}f" "${letter%%:*}" -C tree .
done
rm -r tree
