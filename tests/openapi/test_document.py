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
from filestored.access.rules import AccessRules, BucketRules, Right, Token
from filestored.access.tokens import sha256_of
from filestored.digest import algorithm
from filestored.images.accounts import Accounts
from filestored.images.image_store import ImageStore
from filestored.storage.health import Health
from filestored.storage.memory import MemoryBackend, MemoryRecords
from filestored.storage.store import Store
from filestored.web.guard import Guard
from filestored.web.site import make_site
from tests.http_clients.in_memory import InMemoryClient

WHERE = "urn:openapi"
METHODS = {"get", "head", "post", "put", "patch", "delete"}
OF_BUCKETS = {"", "buckets", "files"}
"""First segments of the paths that the root of the tree finds in buckets."""

HASH = "0" * 64
RULES = AccessRules(
    {
        name: Token(name, sha256_of(name), None, {"builds": frozenset([Right(name)])})
        for name in ("read", "list")
    },
    {},
)
"""Rules with a token for each of two rights; its name is its secret."""


@pytest.fixture
def guard():
    return Guard(lists=True)


@pytest.fixture
def tree(guard):
    sha256 = algorithm("sha256")
    store = Store(MemoryBackend(sha256), sha256, maybeDeferred)
    records = MemoryRecords()
    images = ImageStore(records, Accounts(records, bytes(32)), store, maybeDeferred, Health())
    return make_site(store, images, guard=guard)


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
        answer = wire.ask("BREW", re.sub(r"\{\w+\}", HASH, path.replace("{bucket}", "default")))
        described = sorted(method.upper() for method in METHODS & set(item))
        assert (405, described) == (answer.status, answer.fields["allow"].split(", ")), path


def test_document_describes_every_path(tree, document):
    described = {path.split("/")[1] for path in document["paths"]}
    of_the_page = {"static"}
    assert described | of_the_page == {name.decode() for name in tree.children} | OF_BUCKETS


def test_examples_match_their_schemas(document):
    registry = Registry().with_resource(WHERE, Resource(contents=document, specification=DRAFT202012))
    found = list(examples(document))
    assert len(found) > 20
    for place, example in found:
        schema = {"$ref": f"{WHERE}{place.replace(' ', '%20')}/schema"}
        assert [] == list(Draft202012Validator(schema, registry=registry).iter_errors(example)), place


def test_each_response_has_the_id_of_its_request(document):
    operations = [item[method] for item in document["paths"].values() for method in METHODS & set(item)]
    responses = [each for operation in operations for each in operation["responses"].values()]
    responses = [each for each in responses if "$ref" not in each]
    for response in (*document["components"]["responses"].values(), *responses):
        assert {"$ref": "#/components/headers/RequestId"} == response["headers"]["X-Request-Id"]


def test_operations_have_a_summary_and_a_unique_id(document):
    operations = [item[method] for item in document["paths"].values() for method in METHODS & set(item)]
    assert all(operation["summary"] for operation in operations)
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))


def operations(document, *, bucket):
    """The operations on files below ``/buckets/NAME/``, or all others: method, path and description."""
    for path, item in document["paths"].items():
        for method in METHODS & set(item):
            if path.startswith("/buckets/{bucket}/") == bucket:
                yield method, path, item[method]


def test_buckets_have_the_operations_of_the_files(document):
    files = {
        (method, path)
        for method, path, _ in operations(document, bucket=False)
        if re.match("/(files|$)", path)
    }
    usage = {("get", "/usage"), ("head", "/usage")}
    assert files | usage == {
        (method, path.removeprefix("/buckets/{bucket}"))
        for method, path, _ in operations(document, bucket=True)
    }


def test_operations_in_buckets_take_both_kinds_of_credentials(document):
    assert {"bearer": "http", "basic": "http"} == {
        name: scheme["type"] for name, scheme in document["components"]["securitySchemes"].items()
    }
    for _, path, operation in operations(document, bucket=True):
        assert [{}, {"bearer": []}, {"basic": []}] == operation["security"], path
        assert {"401", "403", "404"} < set(operation["responses"]), path


@pytest.mark.parametrize(
    ("secret", "target", "status", "name"),
    [
        (None, "/buckets/builds/files/", 401, "CredentialsNeeded"),
        ("unknown", "/", 401, "CredentialsNeeded"),
        ("read", "/buckets/builds/files/", 403, "Forbidden"),
        ("list", f"/buckets/builds/files/{HASH}", 403, "ForbiddenOrBadLink"),
        (None, f"/files/{HASH}?key=0&expires=1&signature=2", 403, "ForbiddenOrBadLink"),
        ("read", "/files/", 404, "NoBucket"),
        ("read", f"/files/{HASH}", 404, "NoFileOrBucket"),
    ],
)
def test_examples_of_refusals_are_sent(guard, wire, document, secret, target, status, name):
    guard.rules = RULES
    answer = wire.ask("GET", target, **({} if secret is None else {"Authorization": f"Bearer {secret}"}))
    assert status == answer.status
    response = document["components"]["responses"][name]
    lines = [example["value"] for example in response["content"]["text/plain"]["examples"].values()]
    assert answer.body.decode() in lines
    assert ("www-authenticate" in answer.fields) == ("WWW-Authenticate" in response["headers"])


def test_preflight_has_the_header_fields_of_the_document(guard, wire, document):
    guard.rules = AccessRules(
        {}, {"default": BucketRules("default", cors=frozenset(["https://app.example"]))}
    )
    answer = wire.ask("OPTIONS", "/", Origin="https://app.example", Access_Control_Request_Method="POST")
    assert 204 == answer.status
    response = document["components"]["responses"]["Preflight"]
    assert set() == {name.lower() for name in response["headers"]} - set(answer.fields)
