"""General ability by lm-evaluation-harness, with and without patches."""
