"""Batch evaluation: a protocol says which data, methods and metrics; rows and tables come out."""
