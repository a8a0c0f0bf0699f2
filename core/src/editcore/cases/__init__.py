"""Edit requests and cases as JSON lines, both ways. Torch-free."""
