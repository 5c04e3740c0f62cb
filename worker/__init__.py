"""Processes uploads, takes events off SQS, and sends webhooks.

The path of one upload's id, from the message to the outcome in its row:

    task      worker.app          Celery's thread: read the message, hand it to the loop
    receive   worker.reception    the loop: wait for a slot, start a job
    attempt   worker.attempts     claim the upload, keep its lease, settle what fails
    process   worker.pipeline     examine until an outcome can be written; finish
    examine   worker.pipeline     read the first bytes, identify, decode, store

Four calls lead from the task to the first byte: `receive` to `examine`. Calls that only schedule
them are not counted: `Runtime.call_soon` passes the id to the loop, `Jobs.start` makes the
attempt's task. If there is a scanner, the scan reads the first byte, before `examine`.

The path enters most modules once, and each of the folders `decoding` and `sniffing`. Records and
pure functions are not counted: `shared.attachments`, `shared.facts`, `shared.keys`,
`shared.reserved`. Calls between modules of `shared`, and calls inside of the two folders, are not
followed. These modules are entered more than once:

    shared.database       runs each statement
    shared.lifecycle      each guarded statement is one entry: claim, announce the thumbnail, finish
    shared.storage        the original is read, the thumbnail is written
    shared.bucket_guard   three questions: may this wake-up be claimed; may an object be used, which
                          a claim of the sweep must ask too; is this object, now read, the row's own
    worker.slots          a slot is taken, counts for the organization of the claim, and is freed
    worker.leases         a lease is held, and dropped after the attempt
    worker.buffering      the head is enough for most files; only a file to decode is read further
    worker.decoding       the name decides how much is read first; the type, whether to decode
    worker.sniffing       the type is named; the size is read if no decoder has measured it
    worker.stages         each step is measured by itself
    worker.measuring      the attempt is begun, and ends in a state
    worker.attempt_spans  the span is begun, and gets the facts of the claim and of the outcome
    shared.log_fields     the lines of an attempt name its message, later its claim

The sweep (`worker.sweep`, `worker.duties`) claims a due upload in its own statement, or after a
check, and enters the path at `attempt`. Meanwhile, `worker.leases` renews the lease.
"""
