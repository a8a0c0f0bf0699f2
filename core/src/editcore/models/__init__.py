"""Models: loading them, naming their parts, tokenising, running, tracing and scoring them."""
