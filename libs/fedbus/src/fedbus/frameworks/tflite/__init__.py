"""Training and prediction with `.tflite` files on tflite-runtime, and their verification."""
