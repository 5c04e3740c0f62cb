// A backend without dependencies that delegates uploads: it gives pages tickets, and webhooks
// report on the files.
// How it is started: deploy/docs/browsers.md, "Examples".

import {createHmac, timingSafeEqual} from "node:crypto";
import {createServer} from "node:http";

const {ATTACHMENTS_URL, ATTACHMENTS_TOKEN, ATTACHMENTS_ORGANIZATION_ID, WEBHOOK_SECRET} = process.env;
const PAGE = `<!doctype html>
<meta charset="utf-8"><title>Upload</title>
<script type="module">
  import "${ATTACHMENTS_URL}/client/attachment-upload.js";
  document.querySelector("attachment-upload").ticket = async (file, {signal}) => {
    const body = JSON.stringify({name: file.name});
    const answer = await fetch("/ticket", {method: "POST", body, signal});
    if (!answer.ok) throw new Error(\`status \${answer.status}\`);
    return answer.json();
  };
</script>
<attachment-upload></attachment-upload>
`;
/** The state of each attachment. Yours is a table with the id of the attachment. */
const states = {};

async function ticket({name}) { // here you decide who may upload what
  const answer = await fetch(`${ATTACHMENTS_URL}/api/v2/attachments`, {
    method: "POST",
    headers: {
      "X-Auth-Token": ATTACHMENTS_TOKEN,
      "X-Organization-Id": ATTACHMENTS_ORGANIZATION_ID,
      "Content-Type": "application/vnd.api+json",
    },
    body: JSON.stringify({data: {type: "attachments", attributes: {name}}}),
  });
  if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
  const {data, meta} = await answer.json();
  states[data.id] = "pending";
  return {aws_policy: data.attributes.aws_policy, ...meta};
}

function isGenuine(headers, body) {
  const seconds = Number(headers["webhook-timestamp"]);
  if (!(Math.abs(Date.now() / 1000 - seconds) < 300)) return false;
  const key = Buffer.from(WEBHOOK_SECRET.slice("whsec_".length), "base64");
  const signed = `${headers["webhook-id"]}.${seconds}.${body}`;
  const expected = Buffer.from(`v1,${createHmac("sha256", key).update(signed).digest("base64")}`);
  return (headers["webhook-signature"] ?? "").split(" ").some((each) => {
    const given = Buffer.from(each);
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

function hook(headers, body) {
  if (!isGenuine(headers, body)) return 403;
  const {data} = JSON.parse(body);
  states[data.id] = data.meta.state;
  return 204;
}

createServer(async (request, response) => {
  const json = (value) => response.setHeader("Content-Type", "application/json").end(JSON.stringify(value));
  try {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    switch (`${request.method} ${request.url}`) {
      case "GET /": return response.setHeader("Content-Type", "text/html").end(PAGE);
      case "POST /ticket": return json(await ticket(JSON.parse(body)));
      case "POST /hook": return response.writeHead(hook(request.headers, body)).end();
      case "GET /states": return json(states);
      default: return response.writeHead(404).end();
    }
  } catch (error) {
    console.error(error.message);
    if (!response.headersSent) response.writeHead(500).end();
  }
}).listen(Number(process.argv[2]), "127.0.0.1");
