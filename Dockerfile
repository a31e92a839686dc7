# One static-free binary on Debian's glibc: the build is the same one that the tests drive.
#
#   docker build -t vestibule .
#   docker run --read-only -v vestibule-data:/data -p 443:443 -v ./vestibule.toml:/etc/vestibule/vestibule.toml:ro vestibule
#
# The image writes to /data only, as user 10001. A volume that another user owns is refused at
# start with the `chown` line to type.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends cmake \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist --bin vestibule \
 && install -D -m 0755 target/dist/vestibule /out/usr/local/bin/vestibule \
 && install -d -m 0700 -o 10001 -g 10001 /out/data \
 && install -d -m 0755 /out/etc/vestibule

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/ /
ENV VESTIBULE_CONFIG=/etc/vestibule/vestibule.toml
USER 10001:10001
VOLUME /data
EXPOSE 80 443 9091
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
  CMD ["/usr/local/bin/vestibule", "health"]
ENTRYPOINT ["/usr/local/bin/vestibule"]
CMD ["serve"]
