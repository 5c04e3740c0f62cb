// An upload service as a Node team writes it: fastify takes the store's events, BullMQ queues them,
// and sharp makes thumbnails. `node server.mjs api PORT` or `node server.mjs worker`; the settings
// are in the environment.
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { Queue, Worker } from "bullmq";
import fastify from "fastify";
import pg from "pg";
import sharp from "sharp";

const environment = process.env;
const broker = new URL(environment.BROKER_URL);
const connection = { host: broker.hostname, port: Number(broker.port), db: 7 };
if (broker.password) connection.password = decodeURIComponent(broker.password);
if (broker.username) connection.username = decodeURIComponent(broker.username);
const database = new pg.Pool({ connectionString: environment.DATABASE_URL, max: 10 });
const Bucket = environment.BUCKET;
const s3 = new S3Client({
  region: environment.REGION,
  endpoint: environment.ENDPOINT_URL,
  forcePathStyle: true,
  requestChecksumCalculation: "WHEN_REQUIRED",
  responseChecksumValidation: "WHEN_REQUIRED",
});

const NAME = "uploads";
const TYPES = { jpeg: "image/jpeg", png: "image/png", webp: "image/webp" };

async function api(port) {
  const queue = new Queue(NAME, { connection });
  const app = fastify();
  app.post("/events", async (request, reply) => {
    const { key } = request.body;
    const updated = await database.query(
      "UPDATE uploads SET state = 'uploaded', uploaded_at = now() WHERE key = $1",
      [key],
    );
    if (updated.rowCount) {
      await queue.add("upload", { key }, { removeOnComplete: true, attempts: 3 });
    }
    return reply.code(204).send();
  });
  await app.listen({ port, host: "127.0.0.1" });
}

async function thumbnail({ data: { key } }) {
  const object = await s3.send(new GetObjectCommand({ Bucket, Key: key }));
  const original = await object.Body.transformToByteArray();
  const image = sharp(original);
  const { format, width, height } = await image.metadata();
  const small = await image
    .rotate()
    .resize(320, 320, { fit: "inside", withoutEnlargement: true })
    .toColourspace("srgb")
    .toBuffer();
  const ContentType = TYPES[format];
  await s3.send(
    new PutObjectCommand({ Bucket, Key: `${key}.thumb`, Body: small, ContentType }),
  );
  await database.query(
    "UPDATE uploads SET state = 'ready', content_type = $2, width = $3, height = $4, size = $5,"
      + " processed_at = now() WHERE key = $1",
    [key, ContentType, width, height, original.length],
  );
}

const [role, port] = process.argv.slice(2);
if (role === "api") {
  await api(Number(port));
} else {
  const worker = new Worker(NAME, thumbnail, { connection, concurrency: 8 });
  worker.on("failed", (job, error) => console.error(job?.data, error));
  await worker.waitUntilReady();
}
console.log(JSON.stringify({ ready: role }));
