"""Scriptable pieces of the model: tensors in, tensors out; one formula per function."""
