"""The paper's published data sets: where they are, how they are fetched, and how they become extended XYZ."""
