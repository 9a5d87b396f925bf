# Everything that a person or a CI runs here. Needs Rust and a C linker; tests/setup.sh sees to the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo

# Real clusters are heavy: a small machine carries one at a time. Unit tests run in parallel all the same.
CLUSTER_TESTS := --test-threads=1

# Which events, and for how long (make chaos).
SEED ?=
MINUTES ?= 4
KAFKA ?= 3.9.2
ZOOKEEPER ?=
EVENTS ?= all
SHORT ?=

.PHONY: help setup demo test acceptance model chaos clients bench lint fmt docs clean-cache

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: ## sees to JDK, Maven and Python, or says which command does
	@tests/setup.sh

demo: setup ## three real brokers are rolled under a client with no retries, directly and through Evenkeel
	$(CARGO) build --release --bin evenkeel
	$(CARGO) run --quiet --release -p testbed --bin demo

test: setup lint docs ## format, lints, documentation, unit tests, component tests, short runs on real clusters
	$(CARGO) test --workspace --lib --bins
	$(CARGO) test --workspace --doc
	$(CARGO) test --workspace --test '*' -- $(CLUSTER_TESTS)

acceptance: ## the long proofs; results go to docs/acceptance.md (ARGS="--only NAME" runs one)
	@tests/setup.sh acceptance
	$(CARGO) build --release -p evenkeel -p simulation --bins
	$(CARGO) run --release -p testbed --bin acceptance -- $(ARGS)

model: ## the model checks with wider bounds than at every test; minutes
	TESTBED_MODEL_WIDE=1 $(CARGO) test --lib -- session::model lease::model

chaos: setup ## brokers (ZOOKEEPER=3.9.5: its servers) are broken in an order of a seed's: SEED=7 MINUTES=4 KAFKA=4.3.1 EVENTS=soft|hard|all SHORT=1; exact replay by seed
	$(CARGO) build --release --bin evenkeel
	$(CARGO) run --quiet --release -p testbed --bin chaos -- $(if $(SEED),--seed $(SEED)) --minutes $(MINUTES) \
		--kafka $(KAFKA) $(if $(ZOOKEEPER),--zookeeper $(ZOOKEEPER)) --events $(EVENTS) $(if $(SHORT),--short) $(ARGS)

clients: setup ## eight client libraries through rolls, directly and through Evenkeel; the tables of docs/clients.md
	$(CARGO) build --release --bin evenkeel
	$(CARGO) run --release -p testbed --bin clients -- $(ARGS)

bench: ## Evenkeel against a bare copy loop and HAProxy (ARGS=zookeeper: and Envoy, before ZooKeeper; ARGS=stall: the stall of a killed broker; ARGS=moves: the pause of a moved session; ARGS=tls: encrypted)
	bench/run $(ARGS)

lint: ## formatting, clippy, floors, licences and advisories; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --test floors --test repository --test deny

fmt: ## formats the code
	$(CARGO) fmt --all

docs: ## the crates' documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

clean-cache: ## removes the fetched servers' jars and the clients' environments
	@cache="$${TESTBED_CACHE:-$$HOME/.cache/evenkeel}"; echo "removing $$cache"; rm -rf -- "$$cache"
