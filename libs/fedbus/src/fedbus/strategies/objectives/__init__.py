"""Objectives, one module each: what agents add to their loss."""
