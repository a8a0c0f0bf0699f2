"""What keeps the repository in order: lists derived from the distributions, words that are out, checks of a release."""
