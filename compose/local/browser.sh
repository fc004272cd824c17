# Role browser: Playwright MCP with a Chromium of the machine.
# shellcheck shell=bash

find_chromium() {
  local name
  # "--version" tells a browser from Ubuntu's stub that only says how to get one.
  for name in chromium chromium-browser google-chrome google-chrome-stable \
    "$RUN"/npm/browser/chromium/chromium*/chrome*/{chrome,headless_shell,chrome-headless-shell}; do
    have "$name" && "$name" --version >/dev/null 2>&1 && { command -v "$name"; return 0; }
  done
  return 1
}

install_browser() {
  npm_install browser @playwright/mcp@0.0.83
  CHROMIUM=$(find_chromium) && return 0
  apt_install chromium || true
  CHROMIUM=$(find_chromium) && return 0
  # Ubuntu's package is only a stub for snap: take the one Playwright offers, if its server can be reached.
  say "fetching Playwright's own Chromium"
  step "$LOGS/install-browser.log" env PLAYWRIGHT_BROWSERS_PATH="$RUN/npm/browser/chromium" \
    node "$RUN/npm/browser/node_modules/playwright-core/cli.js" install chromium-headless-shell || true
  CHROMIUM=$(find_chromium) || skip "no Chromium: install the package chromium (or Google Chrome) and start ./run again"
}

start_browser() {
  local options=()
  # Chromium's sandbox does not work for root, nor where user namespaces are forbidden.
  if ((EUID == 0)) || ! step "$LOGS/browser.log" timeout 20 "$CHROMIUM" --headless --disable-gpu --dump-dom about:blank; then
    options+=(--no-sandbox)
  fi
  mkdir -p "$RUN/browser"
  # It answers requests for "localhost:PORT" alone unless it is told its other name; not "*", which
  # would let any web page reach it through a name of its own.
  # --isolated: one browser context per session, nothing kept between them.
  supervise "$BROWSER_PORT" env -C "$RUN/browser" "$(loopback_only)" \
    node "$RUN/npm/browser/node_modules/@playwright/mcp/cli.js" --port "$BROWSER_PORT" --host 127.0.0.1 --headless \
    --allowed-hosts "127.0.0.1:$BROWSER_PORT,localhost:$BROWSER_PORT" --isolated --executable-path "$CHROMIUM" --output-dir "$RUN/browser" "${options[@]}"
}
