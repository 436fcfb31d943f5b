# Roomring in a small image: the program, libc and nothing else, run as an unprivileged user.
#
#   docker build -t roomring .
#   docker run --network host --ulimit nofile=1048576 --ulimit memlock=-1 \
#     --security-opt seccomp=roomring-seccomp.json roomring
#
# io_uring: the kernel is the host's: Linux 6.1 or later, with sysctl kernel.io_uring_disabled = 0. Container runtimes
# forbid io_uring by their default seccomp profile; the server then says so and exits with 1. roomring-seccomp.json is the
# runtime's own default profile (default.json) with three system calls added:
#
#   jq '.syscalls += [{"names": ["io_uring_setup", "io_uring_enter", "io_uring_register"], "action": "SCMP_ACT_ALLOW"}]' \
#     default.json > roomring-seccomp.json
#
# `--security-opt seccomp=unconfined` does it too, and gives up the rest of the profile.
#
# Limits: `nofile` bounds the connections of each core (each holds its sockets in a table of its ring, not in the
# process); `memlock` bounds the memory that each core locks for its executor (512 KiB and more).
#
# Network: `--network host` spares every packet a bridge and NAT, and keeps the default addresses (127.0.0.1:8080 for
# clients, behind a proxy; 127.0.0.1:8081 for operators). With published ports instead, name the address and the
# authentication, for neither is ever a default on an address that others reach:
#
#   docker run -p 8080:8080 -e ROOMRING_SERVER__LISTEN=0.0.0.0:8080 -e ROOMRING_AUTH__MODE=open … roomring
#
# Store: rooms are kept in /home/nonroot/data: give it a volume (`-v roomring:/home/nonroot/data`), or set
# ROOMRING_STORE__KIND=memory to keep none.
#
# Stop: SIGTERM drains for at most server.shutdown_grace (30 s); give the runtime longer (`docker stop --time 40`).
# Health: GET /health on the address for clients.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --package roomring --bin roomring

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/roomring /usr/local/bin/roomring
COPY --from=build /build/LICENSE /usr/share/doc/roomring/LICENSE
WORKDIR /home/nonroot
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/roomring"]
