"""Coupons and promotion codes: whether one may be applied, and what is kept of it.

An applied coupon is kept as it was: archiving it later takes nothing back. Source: semantics §8.6, §18.7.
"""

from msgspec.structs import replace

from stigg_local.core.catalog import Coupon, PromotionCode
from stigg_local.core.customer import AppliedCoupon, Customer
from stigg_local.core.nearest import nearest
from stigg_local.core.sources import Catalog
from stigg_local.errors import NotAllowed, NotFound


def coupons(catalog: Catalog) -> dict[str, Coupon]:
    """The catalog's coupons by id."""
    return {item.id: item for item in catalog.others.get("coupon", ()) if isinstance(item, Coupon)}


def new_coupon(catalog: Catalog, coupon_id: str) -> Coupon:
    """A coupon that may be applied now.

    Raises:
        NotFound: `CouponNotFound`.
        NotAllowed: `ArchivedCouponCantBeApplied`.
    """
    known = coupons(catalog)
    found = known.get(coupon_id)
    if found is None:
        near = nearest(coupon_id, known)
        raise NotFound(
            f"coupon `{coupon_id[:80]}` does not exist",
            code="CouponNotFound",
            hint=f"did you mean `{near}`" if near else "get_coupons lists them",
        )
    if found.status == "ARCHIVED":
        raise NotAllowed(f"coupon `{coupon_id}` is archived", code="ArchivedCouponCantBeApplied", hint="take another")
    return found


def with_customer_coupon(customer: Customer, catalog: Catalog, coupon_id: str | None, *, now_ms: int) -> Customer:
    """The customer with a coupon, or without one; the same one again changes nothing.

    Raises:
        NotFound: `CouponNotFound`.
        NotAllowed: `ArchivedCouponCantBeApplied`, `CustomerAlreadyHaveCustomerCoupon`.
    """
    if coupon_id == customer.coupon_id:
        return customer
    if coupon_id is None:
        return replace(customer, coupon_id=None, coupon_ms=None, is_coupon_used=False)
    new_coupon(catalog, coupon_id)
    if customer.coupon_id is not None:
        raise NotAllowed(
            f"customer `{customer.id}` has the coupon `{customer.coupon_id}` already",
            code="CustomerAlreadyHaveCustomerCoupon",
            hint="take it away first: update_customer with coupon_id=None",
        )
    return replace(customer, coupon_id=coupon_id, coupon_ms=now_ms, is_coupon_used=False)


def with_code(
    catalog: Catalog,
    code: str,
    *,
    resolved: Coupon | None,
    redeemed: int = 0,
    now_ms: int,
) -> AppliedCoupon:
    """The coupon that a promotion code gives.

    Args:
        catalog: Its own codes come first.
        code: What the customer typed.
        resolved: What the payment provider makes of the code; None where it knows none.
        redeemed: How often the code was used before.
        now_ms: When it is applied.

    Raises:
        NotFound: `PromotionCodeNotFound`.
        NotAllowed: `PromotionCodeNotActive`, `PromotionCodeMaxRedemptionsReached`, `ArchivedCouponCantBeApplied`.
    """
    known = {item.code: item for item in catalog.others.get("promotionCode", ()) if isinstance(item, PromotionCode)}
    own = known.get(code)
    if own is None:
        if resolved is None:
            near = nearest(code, known)
            raise NotFound(
                f"promotion code `{code[:80]}` does not exist",
                code="PromotionCodeNotFound",
                hint=f"did you mean `{near}`" if near else "add it to the catalog's promotionCodes",
            )
        return AppliedCoupon(coupon=resolved, start_ms=now_ms, promotion_code=code)
    if not own.active:
        raise NotAllowed(
            f"promotion code `{code}` is not active", code="PromotionCodeNotActive", hint="set active in the catalog"
        )
    if own.max_redemptions is not None and redeemed >= own.max_redemptions:
        raise NotAllowed(
            f"promotion code `{code}` was used {redeemed} times, which is all it may be",
            code="PromotionCodeMaxRedemptionsReached",
            hint="raise maxRedemptions, or take another code",
        )
    return AppliedCoupon(coupon=new_coupon(catalog, own.coupon_id), start_ms=now_ms, promotion_code=code)


def check_amount(applied: AppliedCoupon | None, currency: str | None) -> None:
    """A fixed coupon has to have an amount in the currency that is invoiced.

    Raises:
        NotAllowed: It has none (`InvalidArgumentError`).
    """
    if applied is None or currency is None or applied.coupon.type != "FIXED":
        return
    known = [item.currency for item in applied.coupon.amounts_off]
    if currency not in known:
        raise NotAllowed(
            f"coupon `{applied.coupon.id}` takes nothing off in {currency}",
            code="InvalidArgumentError",
            hint=f"it has amounts in {', '.join(known) or 'no currency'}",
        )
