"""The plugin host: discovery in isolation, classes by name, and the small plugin manager of each call."""
