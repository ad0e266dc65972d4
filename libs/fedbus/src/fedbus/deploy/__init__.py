"""Programs of the containers of compose.yaml beside the services: see docs/deploy.md."""
