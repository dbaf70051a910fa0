"""Atomic writing of files, and safe reading of files from others."""
