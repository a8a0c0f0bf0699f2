"""The heavy counts: `make check` runs them all and writes `checks/results.md`, which is committed."""
