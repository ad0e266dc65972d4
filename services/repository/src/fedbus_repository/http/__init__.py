"""The HTTP API of the repository: models, results, and documents of other programs."""
