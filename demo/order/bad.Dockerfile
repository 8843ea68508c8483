# Everything is copied before the dependencies are installed: any change of any file installs them again.
FROM node
WORKDIR /app
COPY . .
# The secrets tell npm how this machine reaches the registry; where none are given, npm asks its own.
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=ca npm install
RUN npm run build
