"""The latency-budget harness: `stigg-local bench` measures the engine on a user's data, or on generated ones."""
