# What names the dependencies is copied first: they are installed again only when it changes.
FROM node
WORKDIR /app
COPY package.json package-lock.json .
# The secrets tell npm how this machine reaches the registry; where none are given, npm asks its own.
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=ca npm install
COPY . .
RUN npm run build
