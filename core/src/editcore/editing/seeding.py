"""One seed for every generator a method may reach for."""

import random

import torch


def seed_all(seed: int) -> None:
    """Seed Python's and torch's global generators; NumPy's is left alone, since nothing here uses it."""
    random.seed(seed)
    torch.manual_seed(seed)
