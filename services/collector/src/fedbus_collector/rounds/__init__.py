"""Open rounds: their state and their inputs."""
