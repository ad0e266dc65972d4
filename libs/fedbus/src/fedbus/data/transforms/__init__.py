"""Transforms: what may happen to rows between their file and a trainer, each a step of a pipeline.

Each changes the rows and, alike, the format they are declared in.
"""
