"""`client.explain`: the getter's answer, and on one state of the file why it came out and what would make it a yes."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from stigg_local.authority.authority import Authority
from stigg_local.authority.rehearsal import Rehearsal
from stigg_local.clock import wall_ms
from stigg_local.core import command as shape
from stigg_local.core.answer import CREDIT, Entitlement
from stigg_local.core.entitlement import CustomerView, answer_request, evaluate, kind_of
from stigg_local.core.explain import explain_answer, explain_fallbacks
from stigg_local.core.explanation import Explanation, Question
from stigg_local.core.fallback import Fallback, parse_fallback
from stigg_local.core.ids import UNSET, is_id
from stigg_local.core.nearest import nearest
from stigg_local.core.ways import fallback_ways, find_ways
from stigg_local.core.words import AccessDeniedReason
from stigg_local.core.world import World
from stigg_local.embedded import Embedded
from stigg_local.errors import InvalidInput, StoreError
from stigg_local.getters import FallbackInput, resource_of, values_of
from stigg_local.store.tx import Tx

if TYPE_CHECKING:
    from stigg_local.client import Stigg

# A change between the answer and the look at its reasons makes them disagree; then both are asked for again.
TRIES = 5


def explain(
    client: "Stigg",
    kind: str | None,
    customer_id: str,
    feature_id: str,
    resource_id: str | None = None,
    requested_usage: Any = 0,
    requested_values: Sequence[str] = (),
    fallback: FallbackInput = None,
) -> Explanation:
    """The explanation of what the getter of a type answers; `kind` None is the generic one."""
    values = () if requested_values == () else values_of(requested_values)

    def ask(usage: Any, asked: tuple[str, ...]) -> Entitlement:
        if kind is None:
            return client.get_entitlement(customer_id, feature_id, resource_id, usage, asked, None, fallback)
        return client._ask(kind, customer_id, feature_id, resource_id, usage, asked, fallback)

    answer = ask(requested_usage, values)
    customer_id, feature_id, resource_id = client._checked_ids(customer_id, feature_id, resource_id)
    question = Question(
        customer_id=customer_id,
        feature_id=feature_id,
        resource_id=resource_id,
        requested_usage=requested_usage,
        requested_values=values,
        type=kind,
    )
    embedded = client._embedded
    candidates = _candidates(client, question, fallback)
    if embedded is None or answer.is_fallback:
        return Explanation(
            question=question,
            entitlement=answer,
            now_ms=wall_ms(client._clock) if embedded is None else embedded.store.now_ms(),
            sources=explain_fallbacks(candidates),
            ways=fallback_ways(question, answer, ask, fallback) if candidates else (),
            hint=_hint(client, question, answer),
            error=client.status().last_error,
        )
    try:
        found = _authoritative(embedded, question, answer)
        for _ in range(TRIES - 1):
            if found.entitlement is answer:
                break
            answer = ask(requested_usage, values)
            found = _authoritative(embedded, question, answer)
    except (StoreError, msgspec.MsgspecError) as error:
        found = _remembered(embedded, question, answer, str(error))
    unused = explain_fallbacks(candidates, is_used=False)
    return replace(found, sources=(*found.sources, *unused), hint=_hint(client, question, found.entitlement))


def _authoritative(embedded: Embedded, question: Question, answer: Entitlement) -> Explanation:
    """Reasons and ways on one state of the file, and the answer in it: the same object where it is the same."""
    resource_id = resource_of(question.resource_id)
    now_ms = embedded.store.now_ms()

    def look(tx: Tx) -> Explanation:
        catalog = embedded.catalogs.at(tx.catalog_seq())
        if not is_id(question.customer_id):
            return explain_answer(catalog, None, question, answer, resource_id=resource_id, now_ms=now_ms)
        rehearsal = Rehearsal(
            tx,
            embedded.catalogs,
            question.customer_id,
            feature=catalog.features.get(question.feature_id),
            resource_id=resource_id,
            now_ms=now_ms,
        )
        view = rehearsal.view()
        compiled = evaluate(
            catalog, view, question.feature_id, resource_id=resource_id, kind=question.type, now_ms=now_ms
        )
        if compiled is None:
            # The catalog has changed since the answer, and knows the feature no more.
            return explain_answer(catalog, None, question, answer, resource_id=resource_id, now_ms=now_ms)
        same = answer_request(compiled, question.requested_usage, question.requested_values)
        if same.to_dict() == answer.to_dict():
            same = answer
        explanation = explain_answer(
            catalog,
            view,
            question,
            same,
            customer=rehearsal.customer,
            resource_id=resource_id,
            now_ms=now_ms,
        )
        if same.has_access:
            return explanation

        def rehearse(call: str, arguments: Mapping[str, Any]) -> CustomerView | None:
            return rehearsal.after(lambda authority: _run(authority, call, arguments))

        world = World(catalog, view, rehearsal.customer, question, rehearse, now_ms)
        try:
            return replace(explanation, ways=find_ways(world))
        except (StoreError, msgspec.MsgspecError) as error:
            return replace(explanation, error=str(error))

    # The reasons are looked up in the file, and what this process has queued of the customer is among them.
    with suppress(StoreError):
        embedded.store.settle_queued(question.customer_id)
    return embedded.store.read(look)


def _remembered(embedded: Embedded, question: Question, answer: Entitlement, error: str) -> Explanation:
    """The reasons as memory holds them, where the file cannot be read."""
    now_ms = embedded.store.now_ms()
    held = embedded.replica.memo.get(question.customer_id)
    if held is None:
        return Explanation(question=question, entitlement=answer, now_ms=now_ms, error=error)
    resource_id = resource_of(question.resource_id)
    explanation = explain_answer(held[5], held[4], question, answer, resource_id=resource_id, now_ms=now_ms)
    return replace(explanation, error=error)


def _candidates(client: "Stigg", question: Question, given: FallbackInput) -> list[tuple[str, Fallback]]:
    """The fallbacks that there are for a question, in the order in which they are looked for."""
    candidates: list[tuple[str, Fallback]] = []
    if given is not None:
        # A getter that needs the value refuses a wrong one; one that has an answer never looks at it.
        with suppress(InvalidInput):
            candidates.append(("call", parse_fallback(given, where="fallback")))
    known = None if client._embedded is None else client._embedded.known(question.feature_id)
    kind = known.kind if question.type is None and known is not None else question.type
    return candidates + list(client._configured_each(kind, question.feature_id))


def _hint(client: "Stigg", question: Question, answer: Entitlement) -> str | None:
    """What to look at where the question itself is what stands in the way."""
    embedded = client._embedded
    if embedded is None:
        is_missing = answer.source == "default"
        return "the client is offline: a fallback for this id is all that could grant it" if is_missing else None
    catalog = embedded.catalog()
    match answer.access_denied_reason:
        case AccessDeniedReason.FeatureNotFound | AccessDeniedReason.EntitlementNotFound:
            known = [] if question.type == CREDIT else list(catalog.features)
            near = nearest(question.feature_id, [*known, *catalog.currencies])
            return "the catalog has no such id" + ("" if near is None else f"; did you mean `{near}`?")
        case AccessDeniedReason.FeatureTypeMismatch:
            feature = catalog.features.get(question.feature_id)
            return None if feature is None else f"ask get_{kind_of(feature).lower()}_entitlement, or get_entitlement"
        case AccessDeniedReason.CustomerIsArchived:
            return "an archived customer's id stays taken: provision another one"
        case AccessDeniedReason.CustomerNotFound:
            return "no customer has this id: provision_customer makes one"
        case AccessDeniedReason.CustomerResourceNotFound:
            return "the customer has no subscription of this resource"
        case _:
            return None


def _run(authority: Authority, call: str, arguments: Mapping[str, Any]) -> object:
    """The call of the client of that name, on an authority."""
    from stigg_local import calls

    rest = {key: value for key, value in arguments.items() if key != "customer_id"}
    customer_id = arguments["customer_id"]
    match call:
        case "provision_subscription":
            return authority.subscriptions.provision(shape.provision_subscription(customer_id, rest), key=None)
        case "provision_customer":
            command = calls.customer_command(
                customer_id,
                name=UNSET,
                email=UNSET,
                coupon_id=UNSET,
                subscription=rest["subscription_params"],
                metadata=UNSET,
            )
            return authority.customers.provision(command, key=None)
        case "grant_promotional_entitlements":
            grants = shape.promotional_grants(rest["entitlements"], groups={})
            return authority.promotions.grant(customer_id, grants, key=None)
        case _:
            assert call == "grant_credits", f"`{call}` is no way to yes"
            granted = calls.credits_command(
                customer_id,
                rest["currency_id"],
                rest["amount"],
                grant_type="PROMOTIONAL",
                priority=0,
                effective_at=None,
                expire_at=None,
                cost=None,
                resource_id=rest.get("resource_id"),
            )
            return authority.usage.grant_credits(granted, key=None)
