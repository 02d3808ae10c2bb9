# Everything a developer or CI runs. `make` alone says what there is.

CARGO ?= cargo
NPM ?= npm
.PHONY: help demo run test soak check bench deb docs fmt install-test-tools webui pages

help:
	@echo "make demo    build both programs and show a journal report's way through them"
	@echo "make run     keep both programs running in ./data, on free ports that it prints"
	@echo "make test    install what the tests need, then run every test"
	@echo "make soak    fault tests and fuzzing for MINUTES=10, with new seeds until one fails"
	@echo "make check   format, lints, licences, tidiness"
	@echo "make docs    write docs/configuration.md and the OpenAPI documents anew from the code"
	@echo "make webui   build the console's pages (Node.js 20.19 or newer)"
	@echo "make deb     gateway and archiver as Debian packages, in target/debian; MAINTAINER=\"Name <address>\""
	@echo "make bench   performance beside Postfix and Dovecot, as ratios from one run"

demo: pages
	@$(CARGO) build --workspace --bins
	@target/debug/postern-demo

run: pages
	@$(CARGO) build --workspace --bins
	@target/debug/postern-demo --keep data

test: install-test-tools webui
	$(CARGO) build --workspace --bins
	$(CARGO) nextest run --workspace
	cd webui && $(NPM) test && $(NPM) run e2e

soak: install-test-tools
	@CARGO="$(CARGO)" tests/scripts/soak $(or $(MINUTES),10) $(SEED)

# What is written from the code.
docs:
	$(CARGO) run --quiet --package postern-gateway -- config-reference > target/configuration.md
	mv target/configuration.md docs/configuration.md
	$(CARGO) run --quiet --package postern-gateway -- openapi > target/openapi.json
	mv target/openapi.json webui/openapi.json
	$(CARGO) run --quiet --package postern-archiver -- openapi > target/archiver-openapi.json
	mv target/archiver-openapi.json docs/archiver-openapi.json

check: webui
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet
	tests/scripts/licences
	tests/scripts/tidy
	cd webui && $(NPM) run check

bench:
	tests/scripts/install-tools bench
	$(CARGO) build --release --workspace --bins
	target/release/postern-bench

deb: webui
	tests/scripts/install-tools deb
	$(CARGO) deb --package postern-gateway --locked --strip $(if $(MAINTAINER),--maintainer "$(MAINTAINER)")
	$(CARGO) deb --package postern-archiver --locked --strip $(if $(MAINTAINER),--maintainer "$(MAINTAINER)")

fmt:
	$(CARGO) fmt --all

install-test-tools:
	tests/scripts/install-tools test

# The console's pages, built anew when their sources changed. What npm asks for is what package-lock.json says.
pages_built = webui/dist/index.html
pages_packages = webui/node_modules/.package-lock.json
pages_sources := $(shell find webui/common webui/console -type f ! -name schema.d.ts) webui/openapi.json webui/vite.config.ts \
	webui/postcss.config.mjs webui/tsconfig.json webui/checks/precompress.mjs

webui: $(pages_built)

# A gateway can be built without Node.js; its console then says how to get the pages.
ifneq ($(shell command -v $(NPM)),)
pages: webui
else
pages:
	@echo "$(NPM) is not here, so the console is built without its pages: install Node.js 20.19 or newer, then run make webui"
endif

$(pages_packages): webui/package.json webui/package-lock.json
	cd webui && $(NPM) ci --no-audit --no-fund
	@touch $@

$(pages_built): $(pages_packages) $(pages_sources)
	cd webui && $(NPM) run build
	@touch $@
