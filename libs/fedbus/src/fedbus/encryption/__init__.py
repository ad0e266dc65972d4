"""Homomorphic encryption of updates: keys, packing of numbers into ciphertexts, sums of them."""
