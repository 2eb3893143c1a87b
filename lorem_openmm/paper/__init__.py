"""The tables and figures of the paper, on any data set of the right kind. The library does without this room."""
