"""Makes ``twistd filestored`` known to twistd. No ``__init__.py`` belongs beside this file."""

from twisted.application.service import ServiceMaker

filestored = ServiceMaker(
    "filestored",
    "filestored.service",
    "A file server that keeps every distinct content once, under its hash.",
    "filestored",
)
