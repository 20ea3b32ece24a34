"""The packages of filestored; all other metadata stands in ``pyproject.toml``."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["filestored", "filestored.*"]), "twisted.plugins"],
    # Without it an editable install hides the plugin directory.
    package_dir={"": "."},
    package_data={"filestored": ["py.typed", "web/openapi.json", "web/page/*", "web/page/*/*"]},
)
