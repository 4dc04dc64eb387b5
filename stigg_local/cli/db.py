"""`db tables|query|export|import|backup|restore|browse`: looking into a data directory, and copies of it.

Everything but `import` and `restore` leaves the directory as it is, and all of it works while others write.
"""

import os
import shlex
from pathlib import Path

import click

from stigg_local.cli import rows as shared
from stigg_local.cli.files import import_file
from stigg_local.cli.options import (
    Commands,
    command_clock,
    data_dir_option,
    group_data_dir_option,
    json_option,
    named_directory,
    pass_output,
    stored_directory,
)
from stigg_local.cli.output import Output
from stigg_local.core.period import to_text
from stigg_local.store.connection import prepare_directory

KINDS = ("customers", "subscriptions", "promotions", "credits", "usage")
# What the views are called that are exported.
EXPORTED = {"promotional_entitlements": "promotions", "credit_grants": "credits", "measurements": "usage"}
SECONDS_MAX = 30.0


@click.group(cls=Commands, short_help="Look into a data directory; copy, restore, export, import.")
@group_data_dir_option
@json_option
def db() -> None:
    """The database of a data directory: readable tables, SQL that only reads, exports, imports and backups.

    \b
    Examples:
      stigg-local db tables --data-dir var/stigg
      stigg-local db query "SELECT * FROM usage WHERE customer_id = :c" -p c customer-acme
      stigg-local db backup backups/ --data-dir var/stigg

    \b
    Read-only but for two: `import` runs commands in the data directory, `restore` makes a data directory.
    """


@db.command(short_help="What can be read, with row counts.")
@data_dir_option
@json_option
@pass_output
def tables(out: Output, *, data_dir: str | None) -> int:
    """List the readable views and the stored tables behind them, with rows and, for tables, bytes with indexes.

    Nothing is changed. A table that has the name of a view is `main.NAME`.

    \b
    Example:
      stigg-local db tables --data-dir var/stigg
    """
    with shared.reading(data_dir) as source, out.progress("counting rows"):
        found = source.counted()
    if out.as_json:
        out.json({"tables": [dict(zip(("name", "kind", "rows", "bytes"), item, strict=True)) for item in found]})
        return 0
    lines = [(name, kind, f"{rows:,}", "" if size is None else f"{size:,}") for name, kind, rows, size in found]
    out.table(("name", "kind", "rows", "bytes"), lines)
    return 0


@db.command(short_help="Run one SQL statement that reads.")
@click.argument("sql")
@click.option(
    "-p",
    "--param",
    "parameters",
    type=(str, str),
    multiple=True,
    metavar="NAME VALUE",
    help="A value for `:NAME`; repeatable.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Print at most N rows; of a table, else 1000.")
@click.option("--seconds", type=click.FloatRange(min=0.01), default=SECONDS_MAX, show_default=True, help="Stop then.")
@shared.format_options
@data_dir_option
@json_option
@pass_output
def query(
    out: Output,
    *,
    sql: str,
    parameters: tuple[tuple[str, str], ...],
    limit: int | None,
    seconds: float,
    kind: str | None,
    data_dir: str | None,
) -> int:
    """Run one SQL statement that reads, and print its rows.

    Values are given with -p and never as part of the text. What looks like a number is one; in double quotes it is
    text. A statement that would change anything is refused (exit code 2), one that takes longer than --seconds
    is stopped (exit code 3). `db tables` lists what there is; times are milliseconds (`*_ms`) and text (`*_at`).

    \b
    Examples:
      stigg-local db query "SELECT plan_id, status, count(*) FROM subscriptions GROUP BY 1, 2"
      stigg-local db query "SELECT * FROM usage WHERE customer_id = :c AND is_current" -p c customer-acme
      stigg-local db query "SELECT * FROM measurements WHERE created_at >= :day" -p day 2025-01-31 --ndjson
    """
    with shared.reading(data_dir, seconds) as source:
        columns, rows = source.query(sql, dict(map(shared.parameter, parameters)))
        shared.show(out, "json" if out.as_json else kind, columns, rows, limit)
    return 0


@db.command(short_help="Write a view or a table to a file.")
@click.argument("name", metavar="VIEW")
@click.option("-o", "--output", metavar="FILE", help="Where to, for the owner only; default: standard output.")
@shared.format_options
@data_dir_option
@json_option
@pass_output
def export(out: Output, *, name: str, output: str | None, kind: str | None, data_dir: str | None) -> int:
    """Write all rows of VIEW (a view or a stored table), one state of the database, as it is read.

    The default format is that of the file's ending, else NDJSON. `db import` reads the CSV and NDJSON exports of
    customers, subscriptions, promotional_entitlements, credit_grants and measurements.

    \b
    Examples:
      stigg-local db export customers --format csv --output customers.csv
      stigg-local db export usage --csv > usage.csv
    """
    from stigg_local.store import exchange

    chosen = "json" if out.as_json and output is None else kind or shared.kind_by_ending(output)
    with shared.reading(data_dir) as source:
        columns, rows = source.all_of(name)
        if output is None:
            shared.show(out, chosen, columns, rows)
            return 0
        with shared.written(output) as file, out.progress(f"writing {name}") as bar:
            count = exchange.write(chosen, file, columns, shared.told(rows, bar))
    if out.as_json:
        out.json({"view": name, "file": output, "format": chosen, "rows": count})
    else:
        out.line(f"{count:,} rows of {name} written to {output}", "good")
    return 0


@db.command("import", short_help="Bring customers, subscriptions, promotions, credits or usage in.")
@click.argument("kind", metavar="KIND", type=click.Choice((*KINDS, *EXPORTED)))
@click.argument("file")
@click.option("--format", "text", type=click.Choice(("csv", "ndjson")), help="Default: by the file's ending.")
@click.option("--key-prefix", metavar="P", help="Of the lines' idempotency keys, P:LINE; default: the file's name.")
@click.option("--dry-run", is_flag=True, help="Try it on a private copy; the directory stays as it is.")
@data_dir_option
@json_option
@pass_output
def import_(
    out: Output,
    *,
    kind: str,
    file: str,
    text: str | None,
    key_prefix: str | None,
    dry_run: bool,
    data_dir: str | None,
) -> int:
    """Bring what FILE holds (CSV or NDJSON; - for standard input) into the data directory. This changes it.

    KIND is one of customers, subscriptions, promotions, credits and usage, or the name of the view that was exported
    (promotional_entitlements, credit_grants, measurements).

    Each line is one command under the rules of the engine, never a row of the database, and has an idempotency key:
    its own `idempotency_key`, else one of the id that `db export` gave it, else --key-prefix and the line's number.
    So an import that was stopped is started again and counts nothing twice, and what was exported from this very
    directory is left aside, but for customers, who get the name, e-mail and metadata of their line. Another file
    of the same name needs another --key-prefix. Lines that are refused are reported, each with its place, and the
    others go on; exit code 2 where there were any.

    \b
    customers      customer_id, name, email, coupon_id, metadata; plan_id and what else a subscription takes
    subscriptions  customer_id, plan_id, billing_period, resource_id, addons, billable_features, metadata, …
    promotions     customer_id, feature_id, usage_limit or value, is_unlimited, enum_values, period, …
    credits        customer_id, currency_id, amount, grant_type, priority, effective_at, expire_at, cost
    usage          customer_id, feature_id, value, update_behavior, resource_id, created_at, dimensions

    What goes from one directory to another so, with the same catalog and in this order: identities and metadata;
    running subscriptions, from now on and on the latest versions of their plans; promotions until their end; of
    credit grants what is left; each report of usage at its own time, so that windows which begin now do not count it
    and it burns no credits. What is past or over (ended subscriptions, void or burnt grants, debts, archived
    customers) is left aside. `db backup` and `db restore` take all of it, as it is.

    \b
    Examples:
      stigg-local db import customers customers.ndjson --dry-run
      stigg-local db import usage 2025-01.csv --key-prefix january
      stigg-local db export measurements --data-dir a | stigg-local db import usage - --format ndjson --data-dir b
    """
    from stigg_local.database import import_lines

    kind = EXPORTED.get(kind, kind)
    prefix = key_prefix or ("standard-input" if file == "-" else Path(file).name)
    return import_file(
        out,
        file,
        kind,
        lambda client, lines, refuse, moved: import_lines(
            client, kind, lines, file=file, key_prefix=prefix, on_problem=refuse, on_read=lambda _: moved()
        ),
        text=text,
        data_dir=data_dir,
        dry_run=dry_run,
        may_skip=True,
    )


@db.command(short_help="Write a consistent, verified copy, also of a live directory.")
@click.argument("target", metavar="DEST")
@click.option("--damaged-too", is_flag=True, help="Keep the copy where digests do not match, and say where.")
@data_dir_option
@json_option
@pass_output
def backup(out: Output, *, target: str, damaged_too: bool, data_dir: str | None) -> int:
    """Write one committed state of the data directory into the file DEST, or into the directory DEST under a name
    with the time. A DEST that ends in a slash is made where it is not there.

    It works while others write, holds everything that was acknowledged before it began, and comes into its place
    only when every page, digest and log of it was verified and it is on disk. It never takes the place of another
    file. Behind the database the file holds a manifest and a digest of all its bytes, which `db restore` compares;
    SQLite's own tools can read it. Mode 0600.

    \b
    Examples:
      stigg-local db backup backups/ --data-dir var/stigg
      stigg-local db backup before-migration.backup
    """
    from stigg_local.store.backup import backup as make

    directory = stored_directory(data_dir)
    with out.progress("copying") as bar:
        made = make(
            str(directory),
            target,
            clock=command_clock(),
            progress=lambda _, done, total: bar.reach(done, total or None),
            damaged_too=damaged_too,
        )
    manifest = made.manifest
    size = os.path.getsize(made.path)
    if out.as_json:
        findings = [finding.to_dict() for finding in made.findings]
        out.json({"file": made.path, "bytes": size} | manifest.to_dict() | {"findings": findings})
        return 0
    for finding in made.findings:
        out.note(f"warning: {finding.what} ({finding.where})")
    out.line(made.path, "good")
    state = "kept although it is damaged" if made.findings else "verified"
    customers = manifest.rows.get("customer", 0)
    out.line(
        f"  {size:,} bytes, {customers:,} customers, up to transaction {manifest.seq:,} of epoch {manifest.epoch}"
    )
    out.line(f"  {state}; stigg-local db restore {shlex.quote(made.path)} --data-dir NEW")
    return 0


@db.command(short_help="Make a data directory of a backup.")
@click.argument("file", metavar="BACKUP")
@click.option("--replace", is_flag=True, help="Also where a data directory is; it is set aside, never deleted.")
@click.option("--damaged-too", is_flag=True, help="Also a backup that was made with --damaged-too.")
@data_dir_option
@json_option
@pass_output
def restore(out: Output, *, file: str, replace: bool, damaged_too: bool, data_dir: str | None) -> int:
    """Make the directory --data-dir, which is empty or not there, of BACKUP. This writes to it.

    The backup is verified first: every byte, and then every page, digest and log. The restored database starts a new
    epoch, so that whoever follows it begins anew. With --replace, the data directory that is there is renamed to
    DIR.replaced-TIME, whole; one that a process has open is refused (exit code 4), as is a directory of other files.

    \b
    Examples:
      stigg-local db restore backups/production-2025-01-31T100000-000Z.backup --data-dir var/restored
      stigg-local db restore before-migration.backup --data-dir var/stigg --replace
    """
    from stigg_local.store.restore import restore as put

    directory = named_directory(data_dir)
    with out.progress("unpacking") as bar:
        made = put(
            file,
            str(directory),
            replace=replace,
            damaged_too=damaged_too,
            clock=command_clock(),
            progress=lambda _, done, total: bar.reach(done, total or None),
        )
    manifest = made.manifest
    if out.as_json:
        told = manifest.to_dict() | {"dataDir": str(directory), "epoch": made.epoch, "setAside": made.set_aside}
        out.json(told | {"backupEpoch": manifest.epoch})
        return 0
    out.line(f"restored {file} into {directory}", "good")
    customers = manifest.rows.get("customer", 0)
    out.line(f"  environment {manifest.environment}, {customers:,} customers, as of {to_text(manifest.made_ms)}")
    out.line(f"  transaction {manifest.seq:,} of epoch {manifest.epoch}; this is epoch {made.epoch}")
    if made.set_aside:
        out.line(f"  what was there is {made.set_aside}")
    return 0


@db.command(short_help="Make a copy for Datasette and say how to open it.")
@click.option("-o", "--output", metavar="DIR", help="A directory for the copy; default: a new private one.")
@data_dir_option
@json_option
@pass_output
def browse(out: Output, *, output: str | None, data_dir: str | None) -> int:
    """Write the readable views as tables into a file of its own, and print how to open that in Datasette.

    Other programs bring another SQLite, which must never open a file that is in use: hence a copy. Datasette itself
    is no dependency. The copy holds the names and e-mail addresses of customers, so it is for its owner only.

    \b
    Example:
      stigg-local db browse --data-dir var/stigg
    """
    import shutil
    import tempfile

    from stigg_local.store.browse import METADATA, readable_copy

    directory, environment = shared.known_directory(data_dir)
    where = tempfile.mkdtemp(prefix="stigg-local-browse-") if output is None else output
    is_new = output is None or not os.path.lexists(where)
    prepare_directory(where)
    try:
        with out.progress("copying") as bar:
            path = readable_copy(
                str(directory),
                where,
                environment=environment,
                now_ms=shared.command_now_ms(),
                progress=lambda _, done, total: bar.reach(done, total or None),
            )
    except BaseException:
        if is_new:
            shutil.rmtree(where, ignore_errors=True)
        raise
    metadata = os.path.join(where, METADATA)
    command = shlex.join(["datasette", "--immutable", path, "--metadata", metadata, "--open"])
    if out.as_json:
        out.json({"file": path, "metadata": metadata, "command": command})
        return 0
    out.line(f"a copy of {directory} is {path}", "good")
    out.line("open it (pip install datasette) with:")
    out.line(f"  {command}")
    return 0
