"""The HTTP API of the controller: jobs and configurations."""
