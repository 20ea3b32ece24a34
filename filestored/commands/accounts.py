"""Commands ``filestored account …``: the accounts of the image API."""

import os
from argparse import Namespace
from typing import Any

from filestored import account_admin
from filestored.commands.arguments import add_command, add_json
from filestored.commands.output import DONE, print_json, print_line
from filestored.storage.object_store.url import is_url


def add_parser(commands: Any) -> None:
    """Add the command ``account``."""
    parser = commands.add_parser(
        "account",
        help="create, list and delete accounts of the image API, and print their tokens",
        description="Works on --images itself, also beside running daemons. Run it as the owner of the "
        "directory, or as root; for an object store, with the variables of the daemon.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, command, text, output in _ACTIONS:
        example = f"filestored account {name} {'' if command is _list_accounts else 'anna '}--images images"
        action = add_command(actions, name, text, example)
        if command is not _list_accounts:
            action.add_argument("name", metavar="NAME", help="name of the account")
        if output:
            add_json(action, output)
        action.add_argument(
            "--images",
            metavar="PLACE",
            type=_place,
            default="images",
            help="the daemon's --images, a directory or a URL [default: images]",
        )
        action.set_defaults(command=command)


def _add_account(arguments: Namespace) -> int:
    return _print_token(arguments, account_admin.add(arguments.images, arguments.name))


def _show_token(arguments: Namespace) -> int:
    return _print_token(arguments, account_admin.token(arguments.images, arguments.name))


def _print_token(arguments: Namespace, token: str) -> int:
    if arguments.json:
        print_json({"account": arguments.name, "token": token})
    else:
        print_line(token)
    return DONE


def _list_accounts(arguments: Namespace) -> int:
    names = account_admin.names(arguments.images)
    if arguments.json:
        print_json({"accounts": names})
        return DONE
    for name in names:
        print_line(name)
    return DONE


def _delete_account(arguments: Namespace) -> int:
    account_admin.delete(arguments.images, arguments.name)
    print_line(f"the account {arguments.name} and its images are deleted")
    return DONE


_ACTIONS = (
    ("add", _add_account, "Create an account, and print its token.", '{"account": NAME, "token": TOKEN}'),
    ("token", _show_token, "Print the token of an account.", '{"account": NAME, "token": TOKEN}'),
    ("list", _list_accounts, "Print the names of all accounts.", '{"accounts": [NAME, ...]}'),
    (
        "delete",
        _delete_account,
        "Delete an account with its images, without a question. Its token is invalid at once, and its name "
        "can be registered again. If the command is interrupted, run it again; the name is taken until then.",
        None,
    ),
)
"""Actions of ``account``: name, function, description, and the form of the JSON output, if there is one."""


def _place(text: str) -> str:
    """Return the URL of an object store, or the path of a directory."""
    return text if is_url(text) else os.path.realpath(text)
