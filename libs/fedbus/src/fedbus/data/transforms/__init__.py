"""Transforms of rows between loader and trainer, each a step of a pipeline.

Each changes the rows, and their declared format accordingly. The constructor raises TrainingError
for a parameter out of range, `transform_format` for a format that the transform does not accept.
"""
