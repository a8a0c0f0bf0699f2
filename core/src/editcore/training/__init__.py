"""Training of what a method needs before its first edit: one loop for all methods, its result an asset."""
