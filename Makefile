# Everything a developer or CI runs. `make` alone says what there is.

CARGO ?= cargo
.PHONY: help demo run test soak check bench docs fmt install-test-tools

help:
	@echo "make demo    build both programs and show a journal report's way through them"
	@echo "make run     keep both programs running in ./data, on free ports that it prints"
	@echo "make test    install what the tests need, then run every test"
	@echo "make soak    fault tests and fuzzing for MINUTES=10, with new seeds until one fails"
	@echo "make check   format, lints, licences, tidiness"
	@echo "make docs    write docs/configuration.md anew from the code"
	@echo "make bench   performance beside Postfix and Dovecot, as ratios from one run"

demo:
	@$(CARGO) build --workspace --bins
	@target/debug/postern-demo

run:
	@$(CARGO) build --workspace --bins
	@target/debug/postern-demo --keep data

test: install-test-tools
	$(CARGO) build --workspace --bins
	$(CARGO) nextest run --workspace

soak: install-test-tools
	@CARGO="$(CARGO)" tests/scripts/soak $(or $(MINUTES),10) $(SEED)

# What is written from the code.
docs:
	$(CARGO) run --quiet --package postern-gateway -- config-reference > target/configuration.md
	mv target/configuration.md docs/configuration.md

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet
	tests/scripts/licences
	tests/scripts/tidy

bench:
	tests/scripts/install-tools bench
	$(CARGO) build --release --workspace --bins
	target/release/postern-bench

fmt:
	$(CARGO) fmt --all

install-test-tools:
	tests/scripts/install-tools test
