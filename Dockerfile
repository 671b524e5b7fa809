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

# node:22-bookworm-slim
FROM node@sha256:53ada149d435c38b14476cb57e4a7da73c15595aba79bd6971b547ceb6d018bf AS node

# rust:1.95.0-bookworm
FROM rust@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
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
