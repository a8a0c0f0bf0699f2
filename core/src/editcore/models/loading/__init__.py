"""From a folder or a repository to a model in memory."""
