// A page's script that uploads by Uppy with a ticket of the page's backend.

import AwsS3 from "@uppy/aws-s3";
import Uppy from "@uppy/core";

/** @type {Map<string, string>} */
const statusUrls = new Map();

const uppy = new Uppy().use(AwsS3, {
  shouldUseMultipart: false,
  async signRequest(request) {
    const name = request.key.split("/").pop();
    const answer = await fetch(`/ticket?name=${encodeURIComponent(name)}`, {method: "POST"});
    const ticket = await answer.json();
    statusUrls.set(request.key, ticket.status_url);
    return {url: ticket.upload_url, fields: ticket.aws_policy};
  },
  generateObjectKey: (file) => file.name,
});

/** Upload a file and return the final state of its attachment. */
window.run = async (name, data) => {
  uppy.addFile({name, type: "image/jpeg", data: new Blob([data], {type: "image/jpeg"})});
  const {failed} = await uppy.upload();
  if (failed.length > 0) return `failed: ${failed[0].error}`;
  for (;;) {
    const status = await fetch(`${statusUrls.get(name)}&wait=20`);
    const {meta} = (await status.json()).data;
    if (["ready", "rejected", "failed"].includes(meta.state)) return meta.state;
  }
};
