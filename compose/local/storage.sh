# Roles s3 (moto's S3 server, in memory) and storage (minio-mcp-server behind supergateway).
# shellcheck shell=bash

install_s3() { python_install moto python3 '' 'moto[server,s3]==5.2.5'; }

start_s3() {
  supervise "$S3_PORT" "$RUN/venv/moto/bin/python" "$RUN/venv/moto/bin/moto_server" -H 127.0.0.1 -p "$S3_PORT"
}

install_storage() {
  npm_install minio-mcp-server minio-mcp-server@0.1.0
  ensure_supergateway
}

start_storage() {
  need_role s3
  # The endpoint is host:port; with a scheme the server does not start. One child per session, so
  # sessions that are forgotten by their client end after ten minutes.
  supervise "$STORAGE_PORT" env "$(loopback_only)" "MINIO_MCP_ENDPOINT=127.0.0.1:$S3_PORT" MINIO_MCP_USE_SSL=false \
    MINIO_MCP_ACCESS_KEY=minioadmin MINIO_MCP_SECRET_KEY=minioadmin \
    node "$RUN/npm/supergateway/node_modules/supergateway/dist/index.js" \
    --stdio "$(shell_words node "$RUN/npm/minio-mcp-server/node_modules/.bin/minio-mcp-server")" \
    --outputTransport streamableHttp --stateful --port "$STORAGE_PORT" --logLevel none
}
