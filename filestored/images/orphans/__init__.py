"""Removal of orphans: blobs without an image, lost token records, objects of removed records."""
