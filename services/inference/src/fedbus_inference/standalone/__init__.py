"""Models of a local folder, in place of a repository: the service works without a broker."""
