# Role timescale: timescaledb-mcp, a stdio server, behind supergateway as legacy HTTP+SSE.
# shellcheck shell=bash

install_timescale() {
  # mcp 2 removed what this server calls.
  python_install timescaledb-mcp python3 '' timescaledb-mcp==0.1.0 mcp==1.30.0
  ensure_supergateway
}

start_timescale() {
  need_role postgres
  supervise "$TIMESCALE_PORT" env "$(loopback_only)" TIMESCALEDB_HOST=127.0.0.1 "TIMESCALEDB_PORT=$PG_PORT" \
    TIMESCALEDB_DATABASE=tsdb TIMESCALEDB_USER=postgres TIMESCALEDB_PASSWORD=unused \
    node "$RUN/npm/supergateway/node_modules/supergateway/dist/index.js" \
    --stdio "$(shell_words "$RUN/venv/timescaledb-mcp/bin/python" -m timescaledb_mcp)" \
    --outputTransport sse --port "$TIMESCALE_PORT" --logLevel none
}
