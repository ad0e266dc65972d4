"""A controller's tasks: acceptance, inputs, model cache, schedule, replies."""
