"""Adapter of ONNX models, which only run; the one importer of onnxruntime."""
