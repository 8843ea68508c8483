# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
SHELL ["powershell", "-Command"]
WORKDIR /app
COPY . .
RUN Install-WindowsFeature Web-Server
CMD ["powershell"]
