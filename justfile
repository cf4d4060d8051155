# One-word commands. Each is also a plain cargo command that README names: a fresh machine has no `just`.

# Formatting, lints, layers: under a minute.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# All tests.
test:
    cargo test --workspace

# A whole cluster of three members on this machine.
dev *ARGS:
    cargo run --release -- dev {{ARGS}}

# Seeded worlds: `just sim 300`, or `just sim-replay 81723`.
sim SEEDS="300":
    cargo run -p quorate-sim -- run --seeds {{SEEDS}}

sim-replay SEED:
    cargo run -p quorate-sim -- replay {{SEED}}

# Faults on real processes, judged: `just chaos --operations 1000000`. Needs root for most of them.
chaos *ARGS:
    cargo run --release -p quorate-chaos -- run {{ARGS}}

# An idea of the field: `just lab run paxos`; without arguments, what there is.
lab *ARGS:
    cargo run -- lab {{ARGS}}

# The same load on etcd and on Quorate in turn.
bench *ARGS:
    bench/compare {{ARGS}}

# Exactly what the server runs.
ci:
    .ci/run
