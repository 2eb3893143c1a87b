"""Whether what a configuration made is fit for use: one line per question, with number, limit and figure."""
