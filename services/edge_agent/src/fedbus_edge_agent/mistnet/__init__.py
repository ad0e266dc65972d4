"""MistNet on an agent: features that it sends once, and training on those of other agents."""
