"""Thumbnails of images, cached in a directory."""
