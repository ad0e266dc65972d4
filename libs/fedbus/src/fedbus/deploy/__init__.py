"""What the containers of compose.yaml run beside the services: see docs/deploy.md."""
