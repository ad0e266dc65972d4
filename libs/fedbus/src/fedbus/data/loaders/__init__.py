"""Loaders: from a file or a folder to batches. Nothing is unpickled; a fault is named by its place.

Small data sets are read once and kept in memory; larger ones are read again in every epoch, in
pieces, and never held. Inputs are float32. Truths that are whole numbers are classes, int64; others
are float32.
"""
