"""Server optimizers, one module each: what the combined update does to the model."""
