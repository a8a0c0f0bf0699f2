"""Cases, probes and metrics with versioned names."""
