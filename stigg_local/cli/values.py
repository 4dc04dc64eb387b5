"""What a shell completes as the value of an argument or an option: ids of a data directory, views, files.

Laws: completing changes nothing and prints nothing but values; what cannot be read completes to nothing.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

DATA_DIR_BEFORE = "stigg_local.data_dir"
DATA_DIR_VARIABLE = "STIGG_LOCAL_DATA_DIR"
VALUES_MAX = 200
# A person waits for it at the prompt.
SECONDS_MAX = 1.0

# Other ids would have to be quoted, each shell in its own way.
_PLAIN = re.compile(r"[\w.@/%+][\w.@/%+-]*")
_LAST = chr(0x10FFFF)

Values = Callable[[click.Context, str], "list[CompletionItem]"]


class Known(click.types.StringParamType):
    """Text of which the shell knows some values."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - the parser's own signature
        incomplete: str,
    ) -> "list[CompletionItem]":
        """The values that begin like what was typed."""
        return self._values(ctx, incomplete)


def files(_: click.Context, incomplete: str) -> "list[CompletionItem]":
    """Let the shell complete the name of a file."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def directories(_: click.Context, incomplete: str) -> "list[CompletionItem]":
    """Let the shell complete the name of a directory."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="dir")]


def customers(ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
    """Ids of customers."""
    return _stored(ctx, incomplete, (("customers", "customer_id"),))


def features(ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
    """Ids of features and of credit currencies."""
    return _stored(ctx, incomplete, (("features", "feature_id"), ("credit_currencies", "currency_id")))


def subscriptions(ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
    """Ids of subscriptions."""
    return _stored(ctx, incomplete, (("subscriptions", "subscription_id"),))


def plans(ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
    """Ids of plans."""
    latest = "(SELECT package_id FROM packages WHERE kind = 'plan' AND is_latest)"
    return _stored(ctx, incomplete, ((latest, "package_id"),))


def products(ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
    """Ids of products."""
    return _stored(ctx, incomplete, (("products", "product_id"),))


def views(_: click.Context, incomplete: str) -> "list[CompletionItem]":
    """Names of the readable views."""
    from stigg_local.store.views import VIEWS

    return _items(name for name in VIEWS if name.startswith(incomplete))


def _stored(ctx: click.Context, incomplete: str, columns: Sequence[tuple[str, str]]) -> "list[CompletionItem]":
    """What some columns of readable views hold and begins like what was typed."""
    from stigg_local.cli.rows import reading

    between = {"first": incomplete, "last": incomplete + _LAST}
    try:
        with reading(_data_dir(ctx), SECONDS_MAX) as source:
            found = [
                str(row[0])
                for view, column in columns
                for row in source.query(
                    f"SELECT {column} FROM {view} WHERE {column} >= :first AND {column} < :last"  # noqa: S608
                    f" ORDER BY 1 LIMIT {VALUES_MAX}",
                    between,
                )[1]
            ]
    except Exception:
        # At the prompt there is nobody to tell: the command itself will say what is wrong.
        return []
    return _items(value for value in found if _PLAIN.fullmatch(value))


def _data_dir(ctx: click.Context) -> str | None:
    """The directory that the line names, before or behind the word that is completed, else the environment's."""
    before: str | None = ctx.meta.get(DATA_DIR_BEFORE)
    named: str | None = ctx.params.get("data_dir")
    words = os.environ.get("COMP_WORDS", "").split()
    behind = [value for option, value in pairwise(words) if option == "--data-dir"]
    behind += [word.partition("=")[2] for word in words if word.startswith("--data-dir=")]
    found = behind[-1] if behind else named or before or os.environ.get(DATA_DIR_VARIABLE)
    return os.path.expanduser(found) if found else None


def _items(values: Iterable[str]) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    return [CompletionItem(value) for value in values]


# By the name of a parameter, in every command that has one of the name.
_BY_NAME: dict[str, Values] = {
    "customer": customers,
    "feature": features,
    "features": features,
    "file": files,
    "paid_by": customers,
    "plan": plans,
    "product": products,
    "subject": subscriptions,
    "subscription": subscriptions,
}
# By what a page of help calls the value.
_BY_METAVAR: dict[str, Values] = {"DIR": directories, "VIEW": views}


def known(parameter: click.Parameter) -> Values | None:
    """What completes a parameter's value, if anything does."""
    name = parameter.metavar or ""
    if re.search(r"\b(FILE|BACKUP)\b", name):
        return files
    return _BY_METAVAR.get(name) or _BY_NAME.get(parameter.name or "")
