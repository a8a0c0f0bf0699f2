"""What differs, and whether every hash still holds."""
