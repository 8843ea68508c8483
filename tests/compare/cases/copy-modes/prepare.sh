for mode in 400 644 664 755 700 777; do echo "$mode" >"file-$mode"; chmod "$mode" "file-$mode"; done
for mode in 700 755 775; do mkdir "folder-$mode"; echo x >"folder-$mode/x"; chmod "$mode" "folder-$mode"; done
