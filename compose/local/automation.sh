# Role automation: n8n with its own MCP endpoint, set up without a browser.
# shellcheck shell=bash

install_automation() {
  ensure_node24
  # The largest by far (2340 packages): let the small ones pass. With its install scripts it would
  # compile SQLite, which is not used here.
  NICE='nice -n 10' npm_install n8n n8n@2.40.7
}

start_automation() {
  local home=$RUN/n8n
  need_role postgres
  (umask 077 && mkdir -p "$home" &&
    { [[ -s $home/encryption-key ]] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$home/encryption-key"; })
  # Owner, MCP access, token, sample workflows; does nothing when the token still works.
  after_listen() {
    step "$LOGS/automation-setup.log" "$NODE24/node" "$LOCAL/n8n-setup.mjs" "http://127.0.0.1:$N8N_PORT" "$home"
  }
  # The port after it is for n8n's own task runner.
  supervise "$N8N_PORT" env "$(loopback_only)" "PATH=$NODE24:$PATH" "N8N_USER_FOLDER=$home" \
    N8N_PORT="$N8N_PORT" N8N_LISTEN_ADDRESS=127.0.0.1 "N8N_RUNNERS_BROKER_PORT=$((N8N_PORT + 1))" \
    DB_TYPE=postgresdb DB_POSTGRESDB_HOST=127.0.0.1 "DB_POSTGRESDB_PORT=$PG_PORT" DB_POSTGRESDB_DATABASE=n8n \
    DB_POSTGRESDB_USER=postgres DB_POSTGRESDB_PASSWORD=unused \
    "N8N_ENCRYPTION_KEY=$(<"$home/encryption-key")" N8N_SECURE_COOKIE=false N8N_ENFORCE_SETTINGS_FILE_PERMISSIONS=true \
    N8N_DIAGNOSTICS_ENABLED=false N8N_VERSION_NOTIFICATIONS_ENABLED=false N8N_TEMPLATES_ENABLED=false \
    N8N_PERSONALIZATION_ENABLED=false N8N_COMMUNITY_PACKAGES_ENABLED=false \
    "$NODE24/node" "$RUN/npm/n8n/node_modules/n8n/bin/n8n" start
}
