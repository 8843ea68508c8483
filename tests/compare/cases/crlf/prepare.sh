printf 'FROM busybox\r\nENV A=b \\\r\n  C=d\r\nRUN echo "$A" >/a\r\nCMD ["x"]\r\n' >Dockerfile
