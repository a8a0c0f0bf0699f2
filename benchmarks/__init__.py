"""Speed and memory against a straightforward implementation, in one run. Nothing here is asserted by time."""
