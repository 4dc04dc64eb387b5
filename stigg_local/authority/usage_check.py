"""What a usage report is checked for against the catalog and the customer's sources, whoever keeps it."""

from stigg_local.core.catalog import Feature
from stigg_local.core.entitlement import Winner
from stigg_local.core.period import to_text
from stigg_local.core.sources import Catalog
from stigg_local.core.usage import AHEAD_MS_MAX
from stigg_local.errors import InvalidInput, NotAllowed


def metered_feature(catalog: Catalog, feature_id: str) -> Feature:
    """The feature of a report.

    Raises:
        NotFound: There is none (`FeatureNotFound`).
        NotAllowed: It is not metered, or fed by raw events.
    """
    feature = metered_or_refused(catalog, feature_id)
    refuse_fed(feature)
    return feature


def refuse_fed(feature: Feature) -> None:
    """Refuse what is counted by raw events.

    Raises:
        NotAllowed: It is.
    """
    if feature.meter is not None:
        raise NotAllowed(
            f"feature `{feature.id}` is fed by raw events",
            code="CannotReportUsageForEntitlementWithMeterError",
            hint="report the events, or remove the meter",
        )


def metered_or_refused(catalog: Catalog, feature_id: str) -> Feature:
    """A feature whose usage is counted, by reports or by events.

    Raises:
        NotFound: There is none (`FeatureNotFound`).
        NotAllowed: It is not metered.
    """
    feature = catalog.feature(feature_id)
    if not feature.is_metered:
        raise NotAllowed(
            f"feature `{feature.id}` is not metered",
            code="MeteringNotAvailableForFeatureType",
            hint="give it a meterType to count its usage",
        )
    return feature


def entitled_or_refused(current: Winner | None, customer_id: str, feature: Feature, *, is_active: bool) -> Winner:
    """The source that entitles the customer now.

    Raises:
        NotAllowed: None does.
    """
    if current is None or not current.contribution.is_granted:
        raise NotAllowed(
            f"customer `{customer_id}` is not entitled to feature `{feature.id}`",
            code="NoFeatureEntitlementInSubscription" if is_active else "NoActiveSubscriptionForCustomer",
            hint="provision a plan or grant a promotional entitlement that includes it",
        )
    return current


def created_at(stamp_ms: int | None, now_ms: int, *, where: str = "created_at", what: str = "a report") -> int:
    """When a report or an event happened: as it is stamped, but not after now.

    Raises:
        InvalidInput: The stamp lies further ahead than clocks differ.
    """
    if stamp_ms is None:
        return now_ms
    if stamp_ms > now_ms + AHEAD_MS_MAX:
        raise InvalidInput(
            f"{where} is {to_text(stamp_ms)}, which lies in the future",
            code="InvalidArgumentError",
            hint=f"stamp {what} when it happens",
        )
    return min(stamp_ms, now_ms)
