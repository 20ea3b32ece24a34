"""The OpenAPI document: valid, of this version, complete."""

import json
import re

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from twisted.internet.defer import maybeDeferred

from filestored import __version__
from filestored.digest import algorithm
from filestored.images.accounts import Accounts
from filestored.images.image_store import ImageStore
from filestored.storage.health import Health
from filestored.storage.memory import MemoryBackend, MemoryRecords
from filestored.storage.store import Store
from filestored.web.site import make_site
from tests.http_clients.in_memory import InMemoryClient

WHERE = "urn:openapi"
METHODS = {"get", "head", "post", "put", "patch", "delete"}


@pytest.fixture
def tree():
    sha256 = algorithm("sha256")
    store = Store(MemoryBackend(sha256), sha256, maybeDeferred)
    records = MemoryRecords()
    return make_site(store, ImageStore(records, Accounts(records, bytes(32)), store, maybeDeferred, Health()))


@pytest.fixture
def wire(tree):
    return InMemoryClient(tree)


@pytest.fixture
def document(wire):
    return json.loads(wire.ask("GET", "/openapi.json").body)


def examples(node, place="#"):
    """Each example in the document, with the place of the media type or parameter that it is for."""
    if isinstance(node, list):
        node = dict(enumerate(node))
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "examples" and isinstance(value, dict):
            yield from ((place, example["value"]) for example in value.values())
        else:
            part = str(key).replace("~", "~0").replace("/", "~1")
            yield from examples(value, f"{place}/{part}")


def test_document_is_valid_openapi(document):
    validate(document)


def test_document_has_the_version_of_the_package(document):
    assert __version__ == document["info"]["version"]


def test_document_lists_exactly_the_allowed_methods(wire, document):
    for path, item in document["paths"].items():
        answer = wire.ask("BREW", re.sub(r"\{\w+\}", "0" * 64, path))
        described = sorted(method.upper() for method in METHODS & set(item))
        assert (405, described) == (answer.status, answer.fields["allow"].split(", ")), path


def test_document_describes_every_path(tree, document):
    described = {path.split("/")[1] for path in document["paths"]}
    of_the_page = {"static"}
    assert described | of_the_page == {name.decode() for name in tree.children}


def test_examples_match_their_schemas(document):
    registry = Registry().with_resource(WHERE, Resource(contents=document, specification=DRAFT202012))
    found = list(examples(document))
    assert len(found) > 20
    for place, example in found:
        schema = {"$ref": f"{WHERE}{place.replace(' ', '%20')}/schema"}
        assert [] == list(Draft202012Validator(schema, registry=registry).iter_errors(example)), place


def test_operations_have_a_summary_and_a_unique_id(document):
    operations = [item[method] for item in document["paths"].values() for method in METHODS & set(item)]
    assert all(operation["summary"] for operation in operations)
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
