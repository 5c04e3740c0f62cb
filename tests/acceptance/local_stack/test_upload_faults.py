"""Uploads from a web page while the network fails, tickets expire, and users cancel."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from playwright.async_api import BrowserContext

from shared.signing import Credentials, post_policy
from tests.support.browser import (
    EXPECTED,
    PHOTO,
    Network,
    UploadView,
    chosen,
    opened,
    transferred,
)
from tests.support.chromium import CHROMIUM
from tests.support.local import LocalStack
from tests.support.proxy import running_proxy

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: install chromium")

LARGEST = 314_572_800


@pytest.fixture
async def view(context: BrowserContext, local: LocalStack) -> AsyncIterator[UploadView]:
    view = await opened(context, local.ready["upload_page_url"])
    yield view
    await view.page.close()
    assert [each for each in view.faults if not each.startswith(EXPECTED)] == []


async def test_an_upload_goes_on_after_the_network_was_cut(
    context: BrowserContext, local: LocalStack
) -> None:
    assert context.browser is not None
    async with running_proxy(local.ready["upload_url"]) as network:
        # The page's content security policy does not allow the proxy's address. So the browser of
        # this test ignores such policies.
        free = await context.browser.new_context(bypass_csp=True)
        view = await opened(free, local.ready["upload_page_url"])
        await view.page.evaluate(
            "(url) => { const element = document.querySelector('attachment-upload');"
            " const get = element.ticket; element.ticket = async (file, options) =>"
            " ({...await get(file, options), upload_url: url}); }",
            network.url,
        )
        network.delay(0.02)
        await view.choose(chosen("cut.jpg", PHOTO + bytes(8_000_000)))
        await view.element.locator(".state", has_text="uploading, 1").wait_for()

        network.cut()
        await view.element.locator(".state", has_text="connection lost").wait_for()
        network.let_go()

        assert await view.ended(1) == ["done"]
        await free.close()


async def test_all_uploads_go_on_after_the_whole_network_was_away(
    view: UploadView, context: BrowserContext
) -> None:
    """After an outage, the page repeats all requests: for tickets, uploads and statuses.

    A file that the user dropped onto the page during the outage is uploaded too.
    """
    network = await Network.of(context, view)
    await network.limit(bytes_per_s=20_000)
    await view.choose(*(chosen(f"{number}.jpg") for number in range(8)))
    await view.element.locator(".state", has_text="uploading").first.wait_for()

    await network.limit(bytes_per_s=-1, offline=True)
    await view.transfer("drop", [transferred("dropped while offline.jpg")])
    await view.element.locator(".state", has_text="connection lost").last.wait_for()
    await network.limit(bytes_per_s=-1)

    assert await view.ended(9) == ["done"] * 9


async def test_an_upload_that_waits_for_its_turn_is_cancelled(
    view: UploadView, context: BrowserContext
) -> None:
    network = await Network.of(context, view)
    await network.limit(bytes_per_s=20_000)
    await view.choose(*(chosen(f"{number}.jpg") for number in range(7)))
    await view.element.locator(".state", has_text="waiting").first.wait_for()

    await view.element.get_by_role("button", name="Cancel 6.jpg").click()

    await view.element.locator(".state", has_text="cancelled").wait_for()
    await network.limit(bytes_per_s=-1)
    assert sorted(await view.ended(7)) == ["cancelled", *["done"] * 6]


async def test_an_aborted_signal_asks_for_no_ticket(view: UploadView) -> None:
    code = await view.page.evaluate(
        "async () => { const {upload} = await import(CLIENT); const stop = new AbortController();"
        " stop.abort(); let asked = 0; const ticket = () => { asked += 1; };"
        " const code = await upload(new File(['x'], 'a.txt'), {ticket, signal: stop.signal})"
        ".catch((error) => error.code); return [code, asked]; }".replace(
            "CLIENT", f'"{view.client}"'
        )
    )
    assert code == ["aborted", 0]


async def test_properties_that_were_set_before_the_element_is_known_are_kept(
    view: UploadView,
) -> None:
    found = await view.page.evaluate(
        "() => { const frame = document.createElement('iframe'); document.body.append(frame);"
        " const made = frame.contentDocument.createElement('attachment-upload');"
        " made.ticket = 5; made.texts = {choose: 'Wählen'};"
        " document.body.append(made);"
        " return [made.ticket, made.shadowRoot.querySelector('.choose').textContent]; }"
    )
    assert found == [5, "Wählen"]


async def test_a_reason_is_shown_in_the_page_s_language(view: UploadView) -> None:
    broken = PHOTO[: len(PHOTO) // 2]
    await view.choose(chosen("broken.jpg", broken))
    assert (await view.ended(1))[0].startswith("done; ")

    await view.page.evaluate(
        "document.querySelector('attachment-upload').texts ="
        " {ready_but: 'fertig; {detail}', reason_damaged: 'Bild beschädigt'}"
    )

    assert await view.states() == ["fertig; Bild beschädigt"]


async def test_a_paste_into_a_text_field_is_left_to_it(view: UploadView) -> None:
    await view.page.evaluate(
        "() => { const field = document.createElement('textarea'); document.body.append(field);"
        " const data = new DataTransfer(); data.items.add(new File(['x'], 'a.txt'));"
        " window.taken = !field.dispatchEvent(new ClipboardEvent('paste',"
        " {clipboardData: data, bubbles: true, cancelable: true, composed: true})); }"
    )

    assert await view.page.evaluate("window.taken") is False
    assert await view.states() == []


async def test_a_ticket_that_has_ended_is_replaced(view: UploadView) -> None:
    """The first ticket has a wrong signature.

    The store's answer is the same as for a ticket that expires during the upload.
    """
    await view.page.evaluate(
        "() => { const element = document.querySelector('attachment-upload');"
        " const get = element.ticket; window.asked = [];"
        " element.ticket = async (file, options) => {"
        "   const ticket = await get(file, options); window.asked.push(options.ended);"
        "   if (!options.ended) ticket.aws_policy['x-amz-signature'] = '0'.repeat(64);"
        "   return ticket; }; }"
    )

    await view.choose(chosen("late.jpg"))

    assert await view.ended(1) == ["done"]
    asked = await view.page.evaluate("window.asked.map((each) => each && each.id)")
    assert asked[0] is None
    assert asked[1:] == [asked[1]]
    assert asked[1].isdecimal()


async def test_a_policy_that_ends_in_mid_upload_is_replaced(
    view: UploadView, context: BrowserContext, local: LocalStack
) -> None:
    """The first policy expires three seconds after the upload began, but the upload takes
    longer.
    """
    ready = local.ready

    def short_lived(policy: dict[str, str]) -> dict[str, str]:
        return post_policy(
            bucket=ready["bucket"],
            key=policy["key"],
            region=ready["s3_region"],
            credentials=Credentials(
                access_key=ready["s3_access_key_id"], secret_key=ready["s3_secret_access_key"]
            ),
            now=datetime.now(UTC),
            lifetime_s=3,
            max_bytes=LARGEST,
            content_type=None,
        )

    await view.page.expose_function("shortLived", short_lived)
    await view.page.evaluate(
        "() => { const element = document.querySelector('attachment-upload');"
        " const get = element.ticket; window.asked = 0;"
        " element.ticket = async (file, options) => {"
        "   const ticket = await get(file, options); window.asked += 1;"
        "   if (!options.ended) ticket.aws_policy = await shortLived(ticket.aws_policy);"
        "   return ticket; }; }"
    )
    network = await Network.of(context, view)
    await network.limit(bytes_per_s=len(PHOTO) // 6)

    await view.choose(chosen("slow.jpg"))
    await view.page.wait_for_function("() => window.asked === 2")
    await network.limit(bytes_per_s=-1)

    assert await view.ended(1) == ["done"]


async def test_a_ticket_without_a_successor_ends_in_words(view: UploadView) -> None:
    await view.page.evaluate(
        "() => { const element = document.querySelector('attachment-upload');"
        " const get = element.ticket; element.ticket = async (file, options) => {"
        "   const ticket = await get(file, options);"
        "   ticket.aws_policy['x-amz-signature'] = '0'.repeat(64); return ticket; }; }"
    )

    await view.choose(chosen("never.jpg"))

    assert await view.ended(1) == ["the store refused the file"]
    assert await view.element.get_by_role("button", name="Try never.jpg again").count() == 1


async def test_an_upload_is_cancelled(view: UploadView, context: BrowserContext) -> None:
    network = await Network.of(context, view)
    await network.limit(bytes_per_s=100_000)
    await view.choose(chosen("large.jpg", PHOTO + bytes(3_000_000)))

    await view.element.get_by_role("button", name="Cancel large.jpg").click()

    assert await view.ended(1) == ["cancelled"]
