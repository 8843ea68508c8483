FROM node:22-slim
WORKDIR /app
COPY package.json package-lock.json ./
COPY prisma prisma
RUN --mount=type=cache,target=/root/.npm npm ci
COPY . .
RUN npx prisma generate && npm run build
CMD ["node", "dist/main.js"]
