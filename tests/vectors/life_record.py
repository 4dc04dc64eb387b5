"""How a subscription record of the core looks to a vector."""

from typing import Any

from stigg_local.core.customer import Subscription, entitled_until, status_of
from stigg_local.core.period import FOREVER_MS, to_text
from stigg_local.core.place import billing_period, is_paid, is_running
from stigg_local.core.pricing import recurring
from stigg_local.core.sources import Catalog


def flat_record(item: Subscription, catalog: Catalog, now_ms: int) -> dict[str, Any]:
    """A record in the flat shape in which vectors compare subscriptions."""
    runs = is_running(item, now_ms)
    period = billing_period(item, catalog, now_ms) if runs else None
    version = catalog.packages[item.plan_id, item.plan_version].version
    updates = [update.status for update in item.scheduled_updates]
    paid = is_paid(item, catalog)
    return {
        "id": item.id,
        "planId": item.plan_id,
        "pricingType": version.package.pricing_type,
        "status": status_of(item, now_ms),
        "resource": None if item.resource_id is None else {"id": item.resource_id},
        "addonIds": sorted(addon.addon_id for addon in item.addons),
        "billingPeriod": item.billing_period if paid else None,
        "startDate": to_text(item.start_ms),
        "trialEndDate": to_text(item.trial_end_ms),
        "cancellationDate": to_text(item.cancellation_ms),
        "cancelReason": item.cancel_reason,
        "effectiveEndDate": to_text(None if (end := entitled_until(item)) >= FOREVER_MS else end),
        "currentBillingPeriodStart": to_text(period[0] if period else None),
        "currentBillingPeriodEnd": to_text(period[1] if period else None),
        "metadata": item.metadata,
        "paymentCollection": item.payment_collection,
        "subTotal": float(recurring(item, catalog).subtotal) if paid and item.billing_period else None,
        "scheduled": updates.count("Scheduled"),
        "pendingPayment": updates.count("PendingPayment"),
    }
