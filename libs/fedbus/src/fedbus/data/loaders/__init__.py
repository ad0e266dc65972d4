"""Loaders: data sets from a file or a folder. They unpickle nothing, and errors name the place.

Small data sets are read once into memory; larger ones are read in pieces in every epoch. Inputs are
float32; integer targets are classes, int64; other targets are float32.
"""
