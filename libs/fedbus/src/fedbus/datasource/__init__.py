"""The data of an agent: configuration, pipelines, and changes on disk."""
