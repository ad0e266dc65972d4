"""Train and run `.tflite` models with tflite-runtime."""
