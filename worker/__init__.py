"""Processes uploads, takes events off SQS, and sends webhooks.

The path of one upload's id, from the message to the outcome in its row:

    task      worker.app          Celery's thread: read the message, hand it to the loop
    receive   worker.reception    the loop: wait for a slot, start a job
    attempt   worker.attempts     claim the upload, renew its lease, record failures
    process   worker.pipeline     examine until an outcome can be written; finish
    examine   worker.pipeline     read the first bytes, identify, decode, store

Four calls lead from the task to the first byte: `receive`, `attempt`, `process` and `examine`. Two
calls that only schedule others are not counted: `Runtime.receive` passes the id to the loop, and
`Jobs.start` makes the attempt's task. If there is a scanner, the scan reads the first byte, before
`examine`.

The path enters most modules only once. Each of the folders `decoding` and `sniffing` counts as one
module. Modules of records and pure functions are not counted: `shared.attachments`, `shared.facts`,
`shared.keys`, `shared.reserved`, `shared.styles`. Calls between modules of `shared`, and calls
inside of the two folders, are not followed. These modules are entered more than once:

    shared.database       runs each statement
    shared.lifecycle      each guarded statement is one entry: claim, announce the thumbnail, finish
    shared.storage        the original is read, the thumbnail is written
    shared.bucket_guard   it decides if the wake-up may be claimed, if the object may be used (also
                          for a claim of the sweep), and if the object read belongs to the row
    worker.slots          a slot is taken, counts for the organization of the claim, and is freed
    worker.leases         a lease is held, and dropped after the attempt
    worker.naming         the type is identified; an image that no decoder has measured is measured
    worker.buffering      the head is enough for most files; only a file to decode is read further
    worker.decoding       the file name decides how much to read first; the type, whether to decode
    worker.sniffing       the type is identified; the size is read if no decoder has measured it
    worker.stages         each step is measured separately
    worker.measuring      the attempt begins, and ends in a state
    worker.attempt_spans  the span begins, and gets the facts of the claim and of the outcome
    shared.log_fields     an attempt's log lines get fields of its message, later of its claim

The sweep (`worker.sweep`, `worker.duties`) claims a due upload in its own statement, or after a
check, and enters the path at `attempt`. Meanwhile, `worker.leases` renews the lease.
"""
