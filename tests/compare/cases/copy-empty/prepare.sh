mkdir -p folder/empty/nested && : >empty && chmod 711 folder/empty
