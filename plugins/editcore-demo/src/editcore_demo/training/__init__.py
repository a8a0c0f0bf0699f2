"""How the demo models are trained; heavy imports live in its modules."""
