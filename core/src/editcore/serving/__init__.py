"""An open model that others talk to: one reply at a time, over HTTP or in a terminal."""
