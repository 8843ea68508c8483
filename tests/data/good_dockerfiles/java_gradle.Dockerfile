FROM gradle:8.12-jdk21 AS build
USER root
WORKDIR /build
COPY settings.gradle.kts build.gradle.kts ./
COPY src src
RUN --mount=type=cache,target=/root/.gradle,sharing=locked gradle --no-daemon bootJar

FROM eclipse-temurin:21-jre
COPY --from=build /build/build/libs/app.jar /app.jar
ENTRYPOINT ["java", "-jar", "/app.jar"]
