"""`explain`: why an answer came out, as a tree, and the nearest ways to yes."""

import click

from stigg_local.cli.access import check, request
from stigg_local.cli.options import pass_output, reader
from stigg_local.cli.output import Output


# It is asked as `check` is: the options are the same ones, and values may be given one by one.
@click.command(params=list(check.params), short_help="Why an answer came out, and the ways to yes.")
@click.option("--value", "each", metavar="V", multiple=True, help="One value about to be used; may be repeated.")
@pass_output
def explain(
    out: Output,
    *,
    customer: str,
    feature: str,
    requested: str | None,
    values: str | None,
    each: tuple[str, ...],
    resource: str | None,
    kind: str | None,
    fallback_file: str | None,
    data_dir: str | None,
) -> int:
    """Why may CUSTOMER use FEATURE (or spend a credit currency), or why not?

    It shows every plan, add-on, trial, promotion and fallback that has a say, which one wins and by which rule, the
    counter and its window, the credits in the order in which they are spent, and where the answer is no the nearest
    ways to yes. Each way was tried on a copy of the customer; nothing is changed.

    Exit code 0 whether the answer is yes or no: it is a report. `check` is the command that tells by its exit code.

    \b
    Examples:
      stigg-local explain customer-acme feature-api-calls --requested 10
      stigg-local explain customer-acme feature-regions --value eu --value us
      stigg-local explain customer-acme currency-ai-credits --requested 50
      stigg-local explain customer-acme feature-api-calls --resource site-1 --json
      stigg-local explain customer-acme feature-sso --fallback-file fallback.toml
    """
    from stigg_local.explain_calls import explain as explain_answer

    asked = request(requested=requested, values=values, resource=resource, kind=kind)
    if each:
        if kind not in (None, "enum"):
            raise click.UsageError(f"--value does not go with --type {kind}")
        asked["requested_values"] = (*asked.get("requested_values", ()), *each)
    with reader(data_dir, fallback_file) as client:
        found = explain_answer(client, None if kind is None else kind.upper(), customer, feature, **asked)
    if out.as_json:
        out.json(found.to_dict())
    else:
        out.tree(found.tree())
    return 0
