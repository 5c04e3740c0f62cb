"""A backend that gives tickets to pages and receives webhooks; see "Examples" in browsers.md."""

import os
import sys

import aiohttp
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

API, PATH = os.environ["ATTACHMENTS_URL"], "/api/v2/attachments"
HEADERS = {
    "X-Auth-Token": os.environ["ATTACHMENTS_TOKEN"],
    "X-Organization-Id": os.environ["ATTACHMENTS_ORGANIZATION_ID"],
    "Content-Type": "application/vnd.api+json",
}
HOOK = Webhook(os.environ["WEBHOOK_SECRET"])
PAGE = f"""<!doctype html><meta charset="utf-8"><title>Upload</title><script type="module">
  import "{API}/client/attachment-upload.js";
  document.querySelector("attachment-upload").ticket = async (file, {{signal}}) => {{
    const body = JSON.stringify({{name: file.name}});
    const answer = await fetch("/ticket", {{method: "POST", body, signal}});
    if (!answer.ok) throw new Error(`status ${{answer.status}}`);
    return answer.json();
  }};
</script><attachment-upload></attachment-upload>"""
states: dict[str, str] = {}  # maps attachment ids to states; a real backend uses a table


async def page(_request: web.Request) -> web.Response:
    return web.Response(text=PAGE, content_type="text/html")


async def ticket(request: web.Request) -> web.Response:
    attributes = {"name": (await request.json())["name"]}  # check here who may upload what
    body = {"data": {"type": "attachments", "attributes": attributes}}
    async with aiohttp.request("POST", API + PATH, json=body, headers=HEADERS) as answer:
        answer.raise_for_status()
        created = await answer.json(content_type=None)
    states[created["data"]["id"]] = "pending"
    return web.json_response({**created["data"]["attributes"], **created["meta"]})


async def hook(request: web.Request) -> web.Response:
    try:
        event = HOOK.verify(await request.read(), dict(request.headers.items()))
    except WebhookVerificationError:
        raise web.HTTPForbidden from None
    states[event["data"]["id"]] = event["data"]["meta"]["state"]
    return web.Response(status=204)


async def show(_request: web.Request) -> web.Response:
    return web.json_response(states)


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.get("/", page), web.post("/ticket", ticket)])
    app.add_routes([web.post("/hook", hook), web.get("/states", show)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]))
