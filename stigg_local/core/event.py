"""Events: what changed, when and by whom, as the audit log keeps it and listeners get it.

An event holds ids and numbers, never a name, an e-mail, metadata or billing information. Its types are the field's
own webhook names. Source: semantics §14.
"""

from collections.abc import Mapping

from msgspec import Struct

SYSTEM = "system"

CUSTOMER_CREATED = "customer.created"
CUSTOMER_UPDATED = "customer.updated"
CUSTOMER_DELETED = "customer.deleted"
CUSTOMER_PAYMENT_FAILED = "customer.payment_failed"
SUBSCRIPTION_CREATED = "subscription.created"
SUBSCRIPTION_UPDATED = "subscription.updated"
SUBSCRIPTION_CANCELED = "subscription.canceled"
SUBSCRIPTION_EXPIRED = "subscription.expired"
TRIAL_STARTED = "trial.started"
TRIAL_CONVERTED = "trial.converted"
TRIAL_EXPIRED = "trial.expired"
PROMOTION_GRANTED = "promotional_entitlement.granted"
PROMOTION_UPDATED = "promotional_entitlement.updated"
PROMOTION_REVOKED = "promotional_entitlement.revoked"
PROMOTION_EXPIRED = "promotional_entitlement.expired"
USAGE_EXCEEDED = "entitlement.usage_exceeded"

# What is published has events of its own, of no customer.
CATALOG_KINDS = ("feature", "product", "plan", "addon", "coupon")
CREATED, UPDATED, DELETED = "created", "updated", "deleted"

EVENT_TYPES = (
    CUSTOMER_CREATED,
    CUSTOMER_UPDATED,
    CUSTOMER_DELETED,
    CUSTOMER_PAYMENT_FAILED,
    SUBSCRIPTION_CREATED,
    SUBSCRIPTION_UPDATED,
    SUBSCRIPTION_CANCELED,
    SUBSCRIPTION_EXPIRED,
    TRIAL_STARTED,
    TRIAL_CONVERTED,
    TRIAL_EXPIRED,
    PROMOTION_GRANTED,
    PROMOTION_UPDATED,
    PROMOTION_REVOKED,
    PROMOTION_EXPIRED,
    USAGE_EXCEEDED,
    *(f"{kind}.{what}" for kind in CATALOG_KINDS for what in (CREATED, UPDATED, DELETED)),
)


class Event(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One change of state.

    Attributes:
        type: The webhook's name, for example `subscription.created`.
        customer_id: Whose state changed; empty where it is the catalog's.
        at_ms: When it changed: the boundary's own instant where time changed it.
        actor: `system` for what time did; None for whoever sent the command.
        subscription_id, feature_id: What it is about, where it is about one.
        data: What else tells the change, as text: `reason`, `planId`, `executeMs`, `credit` and the like; of what is
            published its `id` and `version`.
    """

    type: str
    customer_id: str
    at_ms: int
    actor: str | None = None
    subscription_id: str | None = None
    feature_id: str | None = None
    data: Mapping[str, str] = {}
