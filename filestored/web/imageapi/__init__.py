"""The image API: resources below ``/imageapi/``."""
