"""Layers as changesets: tar entries and whiteouts against directory trees (image-spec layer.md)."""
