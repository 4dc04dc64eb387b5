"""What publishing a catalog would change of what is stored: package versions, items put and removed.

Laws: pure; publishing what is stored changes nothing; a published version is never changed; nothing that a
stored version refers to goes away.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from stigg_local.authority.catalog_draft import Problem, shown
from stigg_local.core.catalog import (
    ITEM_KINDS,
    Addon,
    CatalogFile,
    Coupon,
    Inherited,
    InheritedCredit,
    OveragePrice,
    PackageVersion,
    Plan,
    Price,
    PromotionCode,
    Record,
)

# Items other than packages have no versions: they are replaced where they stand.
ITEM_VERSION = 1
# Kind -> the fields that never change once stored, and why a change is refused.
FIXED: dict[str, tuple[str, ...]] = {
    "feature": ("feature_type", "meter_type", "scale"),
    "creditCurrency": ("scale",),
    "coupon": ("type", "percent_off", "amounts_off"),
    "product": ("multiple_subscriptions",),
}
SECTIONS = {
    "feature": "features",
    "featureGroup": "featureGroups",
    "creditCurrency": "creditCurrencies",
    "product": "products",
    "plan": "plans",
    "addon": "addons",
    "coupon": "coupons",
    "promotionCode": "promotionCodes",
    "experiment": "experiments",
    "entityType": "entityTypes",
}

# What names an entry of a list of tables, where it is there and its own.
LABELS = ("feature_id", "currency_id", "currency")

Stored = tuple[str, str, int, str]
Item = tuple[str, str]


class Change(Struct, frozen=True, kw_only=True, rename="camel"):
    """One difference, for people.

    Attributes:
        action: What happens: an item is added, changed or removed, a package gets a further version.
        kind: Kind of the item, as in `ITEM_KINDS`.
        id: Its id.
        version: The version that a package gets; None for other items.
        fields: Key path, value before and value after of each difference; None where there is nothing.
    """

    action: Literal["added", "changed", "removed", "published"]
    kind: str
    id: str
    version: int | None = None
    fields: tuple[tuple[str, Any, Any], ...] = ()


class Publish(Struct, frozen=True, kw_only=True):
    """What a catalog changes.

    Attributes:
        puts: (kind, id, version, record) to write; only what is no package replaces a version that exists.
        removed: (kind, id) to delete.
        changes: The same for people, in catalog order.
        problems: Fixed fields that the catalog tries to change; with any of them nothing may be written.
    """

    puts: list[tuple[str, str, int, Record]]
    removed: list[Item]
    changes: list[Change]
    problems: list[Problem]


def plan_publish(stored: Sequence[Stored], catalog: CatalogFile, *, file: str = "<catalog>") -> Publish:
    """Compare a catalog with what is stored.

    Args:
        stored: (kind, id, version, JSON) of everything stored, all versions, in any order.
        catalog: A catalog without mistakes.
        file: What to call the catalog in problems.
    """
    versions = _versions(stored)
    publish = Publish(puts=[], removed=[], changes=[], problems=[])
    stated = {(kind, item_id): record for kind, item_id, record in _items(catalog)}
    for item, record in stated.items():
        before = _latest(versions.get(item))
        if isinstance(record, PackageVersion):
            _put_package(publish, item, before, record)
        else:
            _put_item(publish, item, before, record, file)
    referred = _referred(versions)
    for item, found in versions.items():
        if item not in stated:
            _remove(publish, item, found, is_referred=item in referred)
    return publish


def _versions(stored: Sequence[Stored]) -> dict[Item, dict[int, Record]]:
    """Every stored record by item and version, items in catalog order."""
    found: dict[Item, dict[int, Record]] = {}
    order = {kind: index for index, kind in enumerate(ITEM_KINDS)}
    for kind, item_id, version, body in sorted(stored, key=lambda row: (order[row[0]], row[1], row[2])):
        found.setdefault((kind, item_id), {})[version] = msgspec.json.decode(body, type=ITEM_KINDS[kind])
    return found


def _latest(versions: Mapping[int, Record] | None) -> tuple[int, Record] | None:
    if not versions:
        return None
    version = max(versions)
    return version, versions[version]


def _items(catalog: CatalogFile) -> Iterator[tuple[str, str, Record]]:
    """What the catalog states, as it is stored; packages with a version of 0."""
    plans = {plan.id: plan for plan in catalog.plans}
    sections: tuple[tuple[str, Sequence[Any]], ...] = (
        ("feature", catalog.features),
        ("featureGroup", catalog.feature_groups),
        ("creditCurrency", catalog.credit_currencies),
        ("product", catalog.products),
        ("plan", [_with_inherited(plan, plans) for plan in catalog.plans]),
        ("addon", [PackageVersion(version=0, addon=addon) for addon in catalog.addons]),
        ("coupon", catalog.coupons),
        ("promotionCode", catalog.promotion_codes),
        ("experiment", catalog.experiments),
        ("entityType", catalog.entity_types),
    )
    for kind, records in sections:
        for record in records:
            yield kind, record.code if isinstance(record, PromotionCode) else record.id, record


def _with_inherited(plan: Plan, plans: Mapping[str, Plan]) -> PackageVersion:
    """A plan with what its base plans give and it does not state itself; the nearest base wins."""
    entitlements: list[Inherited] = []
    credit_entitlements: list[InheritedCredit] = []
    features = {item.feature_id for item in plan.entitlements}
    cadences = {(item.currency_id, item.cadence) for item in plan.credit_entitlements}
    base = plan
    while base.parent_plan_id is not None:
        base = plans[base.parent_plan_id]
        new = [item for item in base.entitlements if item.feature_id not in features]
        entitlements += [Inherited(plan_id=base.id, entitlement=item) for item in new]
        features |= {item.feature_id for item in new}
        new_credits = [item for item in base.credit_entitlements if (item.currency_id, item.cadence) not in cadences]
        credit_entitlements += [InheritedCredit(plan_id=base.id, entitlement=item) for item in new_credits]
        cadences |= {(item.currency_id, item.cadence) for item in new_credits}
    return PackageVersion(
        version=0, plan=plan, inherited=tuple(entitlements), inherited_credits=tuple(credit_entitlements)
    )


def _put_package(publish: Publish, item: Item, before: tuple[int, Record] | None, record: PackageVersion) -> None:
    version = 1 if before is None else before[0] + 1
    if before is not None and before[1] == msgspec.structs.replace(record, version=before[0]):
        return
    made = msgspec.structs.replace(record, version=version)
    publish.puts.append((*item, version, made))
    fields = () if before is None else differences(before[1], made)
    action: Literal["added", "published"] = "added" if before is None else "published"
    publish.changes.append(Change(action=action, kind=item[0], id=item[1], version=version, fields=fields))


def _put_item(publish: Publish, item: Item, before: tuple[int, Record] | None, record: Record, file: str) -> None:
    if before is None:
        publish.puts.append((*item, ITEM_VERSION, record))
        publish.changes.append(Change(action="added", kind=item[0], id=item[1]))
        return
    version, old = before
    if old == record:
        return
    publish.problems.extend(_fixed_problems(item, old, record, file))
    publish.puts.append((*item, version, record))
    publish.changes.append(Change(action="changed", kind=item[0], id=item[1], fields=differences(old, record)))


def _fixed_problems(item: Item, old: Record, new: Record, file: str) -> Iterator[Problem]:
    names = {field.name: field.encode_name for field in msgspec.structs.fields(old)}
    for field in FIXED.get(item[0], ()):
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            yield Problem(
                file=file,
                line=None,
                path=f"{SECTIONS[item[0]]}[{shown(item[1])}].{names[field]}",
                id=shown(item[1]),
                message=f"is `{_told(before)}` since it was first applied and cannot become `{_told(after)}`",
                hint="keep it, and give what is new another id",
                code="InvalidArgumentError",
            )


def _told(value: object) -> str:
    return shown(str(value).lower() if isinstance(value, bool) else msgspec.json.encode(value).decode().strip('"'))


def _remove(publish: Publish, item: Item, versions: Mapping[int, Record], *, is_referred: bool) -> None:
    """A package or coupon is archived, because subscriptions may still hold it; anything else goes."""
    version = max(versions)
    record = versions[version]
    archived = _archived(record)
    if archived is None:
        if not is_referred:
            publish.removed.append(item)
            publish.changes.append(Change(action="removed", kind=item[0], id=item[1]))
        return
    if archived == record:
        return
    number: int | None = None
    if isinstance(archived, PackageVersion):
        version = number = version + 1
        archived = msgspec.structs.replace(archived, version=version)
    publish.puts.append((*item, version, archived))
    fields = differences(record, archived)
    publish.changes.append(Change(action="removed", kind=item[0], id=item[1], version=number, fields=fields))


def _archived(record: Record) -> Record | None:
    match record:
        case PackageVersion(plan=Plan() as plan):
            return msgspec.structs.replace(record, plan=msgspec.structs.replace(plan, status="ARCHIVED"))
        case PackageVersion(addon=Addon() as addon):
            return msgspec.structs.replace(record, addon=msgspec.structs.replace(addon, status="ARCHIVED"))
        case Coupon():
            return msgspec.structs.replace(record, status="ARCHIVED")
    return None


def _referred(versions: Mapping[Item, Mapping[int, Record]]) -> set[Item]:
    """Features, currencies and products that any stored package version refers to."""
    found: set[Item] = set()
    for stored in versions.values():
        for record in stored.values():
            if isinstance(record, PackageVersion):
                found |= set(_references(record))
    return found


def _references(version: PackageVersion) -> Iterator[Item]:
    package = version.package
    yield "product", package.product_id
    for entitlement in (*package.entitlements, *(item.entitlement for item in version.inherited)):
        yield "feature", entitlement.feature_id
        if entitlement.credit_rate is not None:
            yield "creditCurrency", entitlement.credit_rate.currency_id
    for credit in (*package.credit_entitlements, *(item.entitlement for item in version.inherited_credits)):
        yield "creditCurrency", credit.currency_id
        if credit.dependency_feature_id is not None:
            yield "feature", credit.dependency_feature_id
    prices: tuple[Price | OveragePrice, ...] = (*package.prices, *package.overage_prices)
    for price in prices:
        if price.feature_id is not None:
            yield "feature", price.feature_id


# Differences for people -------------------------------------------------------------------------------------


def differences(before: Record, after: Record) -> tuple[tuple[str, Any, Any], ...]:
    """Key path, value before and value after wherever two records of one kind differ.

    Entries of lists are named by their ids, where they have any. A package's version number is no difference.
    """
    if isinstance(before, PackageVersion) and isinstance(after, PackageVersion):
        found = [
            *_differences("", before.package, after.package),
            *_differences("inherited", _inherited(before), _inherited(after)),
        ]
    else:
        found = list(_differences("", before, after))
    return tuple(found)


def _inherited(version: PackageVersion) -> dict[str, Any]:
    """What a plan has from its bases, by what it is of."""
    own: dict[str, Any] = {item.entitlement.feature_id: item for item in version.inherited}
    for item in version.inherited_credits:
        own[f"{item.entitlement.currency_id} {item.entitlement.cadence}"] = item
    return own


def _differences(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if before == after:
        return
    if isinstance(before, Record) and type(before) is type(after):
        for field in msgspec.structs.fields(before):
            inner = f"{path}.{field.encode_name}" if path else field.encode_name
            yield from _differences(inner, getattr(before, field.name), getattr(after, field.name))
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            yield from _differences(f"{path}.{key}", before.get(key), after.get(key))
    elif isinstance(before, tuple) and isinstance(after, tuple) and _are_records((*before, *after)):
        old, new = _named(before), _named(after)
        if list(old) != list(new) and old.keys() == new.keys():
            # Where only the order differs, the entries themselves would not show it.
            yield path, list(old), list(new)
        for key in dict.fromkeys((*old, *new)):
            yield from _differences(f"{path}[{key}]", old.get(key), new.get(key))
    else:
        yield path, msgspec.to_builtins(before), msgspec.to_builtins(after)


def _are_records(entries: tuple[Any, ...]) -> bool:
    return all(isinstance(entry, Record) for entry in entries)


def _named(entries: tuple[Any, ...]) -> dict[Any, Any]:
    """The entries of a list by their ids, where each has its own, else by their indexes."""
    for label in LABELS:
        names = [getattr(entry, label, None) for entry in entries]
        if None not in names and len(set(names)) == len(names):
            return dict(zip(names, entries, strict=True))
    return dict(enumerate(entries))
