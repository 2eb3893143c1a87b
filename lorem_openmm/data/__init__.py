"""Data: structures and their labels, from files or quantum-chemistry engines, to stores and batches."""
