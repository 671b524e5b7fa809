# An image that contains only the server.
#
#     docker build -t waddell-server .
#     docker run -p 62443:62443 -p 62480:62480 waddell-server
#     docker run -v /etc/waddell:/etc/waddell:ro waddell-server --config /etc/waddell/waddell.toml
#
# There is no shell, and no HEALTHCHECK, which would need a program in the image. Probe /healthz on
# a ws:// listener, or /readyz on --admin, from outside. User 65532, or the one of `docker run
# --user`, must be able to read the certificates. --self-signed needs a folder to write to:
# -v waddell:/state -e XDG_STATE_HOME=/state.

FROM node:22-bookworm-slim AS node

FROM rust:1.95.0-bookworm AS build
# Node.js builds the demo page's npm package. npm is a link into node_modules.
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
WORKDIR /src
COPY . .
RUN cargo xtask dist

FROM scratch
COPY --from=build /src/target/dist/waddell-server /waddell-server
USER 65532:65532
EXPOSE 62443 62480
STOPSIGNAL SIGTERM
ENTRYPOINT ["/waddell-server"]
