"""The text of documents that a candidate gives: read, handed back, and forgotten.

`child` runs as a process of its own and is the only part that looks into a PDF; `pdf` starts it and
bounds it; `text` makes its words fit for a plan; `reading` says who may have how much of that.
"""
