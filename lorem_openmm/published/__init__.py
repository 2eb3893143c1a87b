"""Published data sets: where they are, how they are fetched, and how they become extended XYZ.

The library does without this room.
"""
