"""What acts between two charges: one file per kind of kernel."""
