FROM elixir:1.18-slim AS build
ENV MIX_ENV=prod
WORKDIR /app
RUN mix local.hex --force && mix local.rebar --force
COPY mix.exs mix.lock ./
COPY config config
RUN --mount=type=cache,target=/root/.hex mix deps.get --only prod
RUN mix deps.compile
COPY lib lib
RUN mix release

FROM debian:bookworm-slim
WORKDIR /app
COPY --from=build /app/_build/prod/rel/app ./
CMD ["bin/app", "start"]
