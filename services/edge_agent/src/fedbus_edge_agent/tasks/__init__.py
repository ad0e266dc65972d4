"""Tasks of the controller: inputs, model cache, replies."""
