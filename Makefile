# Perigee. `make run` starts a node, `make test` is what every change passes.
#
#   make build        release binary in target/release/perigee
#   make run          build it and start a node      (PROFILE=dev for a debug build, ARGS="--clean" for more flags)
#   make test         all tests of the workspace, and the checks of the repository
#   make lint         formatting and clippy, warnings are errors
#   make integration  real clients, TPC-H, crashes at every fsync; takes long
#   make torture      clusters under faults, their histories checked; ROUNDS=20 SEED=… repeats one
#   make bench        side by side with PostgreSQL, Redis and etcd; prints ratios

SHELL   := bash
PROFILE ?= release
CARGO   ?= cargo
ARGS    ?=
SF      ?= 1

# cargo calls the dev profile's folder "debug".
FOLDER := $(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
PERIGEE_BIN ?= $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/$(FOLDER)/perigee
export PERIGEE_BIN

.PHONY: all build run test test-rust lint fmt integration torture bench tools tools-bench check-aarch64 clean

all: build

build: tools-cc
	$(CARGO) build --locked --profile $(PROFILE) -p perigee

run: build
	$(PERIGEE_BIN) node $(ARGS)

# Tests start the binary of the dev profile. It is built together with them: by itself it would want other features of its
# dependencies, and build them all once more. One test more at a time than processors: half of their time they wait.
TEST_THREADS ?= $(shell expr $$(nproc) + 1)
TEST_BIN := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/debug/perigee
test: tools
	$(CARGO) build --locked --workspace --all-targets
	$(CARGO) test --locked --workspace --no-fail-fast --no-run
	PERIGEE_BIN=$(TEST_BIN) RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --locked --workspace --no-fail-fast

lint: tools-cc
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) run --locked -q -p xtask -- tidy

fmt:
	$(CARGO) fmt --all

integration: tools build
	integration/crash/run
	integration/crash/definitions
	integration/backup/run
	integration/azure/run
	integration/aggregates/run
	integration/pgbench/run
	integration/index/run
	integration/drivers/run
	integration/orm/run
	integration/odbc/run
	integration/memory/run
	integration/redis/run
	integration/redis/many_keys
	integration/rest/run
	integration/grpc/run
	integration/cluster/failover
	integration/haproxy/run
	integration/cluster/simulation
	integration/packaging/run
	integration/console/run
	integration/cluster/torture $(ROUNDS)
	integration/differential/run
	integration/tpch/run $(SF)
	integration/tiers/run 5000000
	integration/tiers/bytes
	$(MAKE) check-aarch64

ROUNDS ?= 20
torture: build
	integration/cluster/torture $(ROUNDS) $(SEED)

bench: tools build
	integration/bench/pg
	integration/bench/redis
	integration/bench/etcd
	integration/bench/lake $(SF)
	integration/bench/ingest 1000000

# ring, zstd and mimalloc bring C; a type check for another processor needs its C compiler and library.
check-aarch64:
	integration/tools aarch64
	rustup target add aarch64-unknown-linux-gnu
	$(CARGO) check --locked -p perigee --target aarch64-unknown-linux-gnu

.PHONY: tools-cc
tools-cc:
	@integration/tools cc

tools:
	@integration/tools cc psql pgbench postgres15 python redis redis-py pyarrow moto lake

clean:
	$(CARGO) clean
