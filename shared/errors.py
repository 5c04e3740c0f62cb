"""All failures that the service expects, as one tree of exceptions.

    AttachmentsError
    ├── SettingsError               the operator's settings cannot be used
    ├── CannotListen                the API's address is in use, or belongs to another machine
    ├── DatabaseAway                PostgreSQL is unavailable, refuses the service, or is too slow
    │   ├── DatabaseForbids         the database role lacks a privilege
    │   └── DatabaseRefusesContent  PostgreSQL refuses the values; a retry does not help
    ├── NotMigrated                 the schema could not be brought up to this version
    ├── NotUtf8                     a new database has an encoding that cannot hold every text
    ├── NameTaken                   an organization has that name already
    ├── NotCounted                  an organization's usage is not counted yet
    ├── QuotaExceeded               a request would exceed an organization's quota
    ├── StoreError                  the object store did not carry out a request
    │   ├── ObjectMissing           there is no such object
    │   ├── ObjectEmpty             the object has no bytes, so no range of it can be read
    │   ├── ObjectChanged           the object has another etag than the one that was asked for
    │   ├── StoreRefused            the store refused the request
    │   └── StoreUnavailable        the store did not answer, or asked for a later retry
    │       └── BucketForeign       the bucket belongs to another deployment
    ├── ObjectOlder                 the object was uploaded for a lost row that had the same id
    ├── IdsTaken                    the bucket holds originals with ids above the sequence
    ├── IdsUndecided                it is not known whether the next ids are free in the bucket
    ├── Rejected                    the file may not be kept; it is never tried again
    ├── Undecodable                 the file is kept without a thumbnail; it is never tried again
    ├── DecoderFault                the decoder failed, and the file is not known to be the cause
    ├── ScannerUnavailable          the scanner did not answer, or could not scan
    ├── TooExpensive                the decoder used more CPU time than one file may use
    ├── MissingRange                a decoder needs a range of a film that it was not given
    ├── RangeWanted                 a decoder asks the worker for another range of a film
    ├── VipsError                   libvips cannot read or shrink an image; Pillow is used instead
    ├── ZygoteGone                  the process that forks decoders has ended
    ├── ClaimLost                   another worker has claimed the attachment
    ├── Busy                        a limited part of the service is in use
    ├── TooManyLookUps              too many unknown tokens are being looked up
    ├── KeyReused                   an Idempotency-Key comes with another request than before
    ├── KeyInUse                    a request with the same Idempotency-Key is being answered
    ├── TooManyWebhooks             an organization has as many webhooks as it may have
    ├── AddressRefused              the receiver of a webhook has no address that is allowed
    ├── SecretUnreadable            no key of the settings decrypts the secret of a webhook
    ├── QueueAway                   the queue of events did not answer, or refused a request
    ├── UnreadableEvent             an authenticated event has no content that can be used
    ├── SnsRefused                  a message is not proven to be from SNS, or is not for us
    ├── SnsUnreachable              SNS did not serve its certificate, or confirm a subscription
    ├── StartFailed                 a process of the local stack could not be started
    ├── Unusable                    a command cannot be carried out
    │   └── Misused                 the command line itself is wrong
    ├── ApiUnusable                 the client cannot use the API at all
    └── UploadFault                 the client could not upload one file

An error that only one module raises is defined in that module, all others here. Not in the tree are
`api.problems.Problem`, which is an answer, and exceptions whose names begin with `_`: the module
that raises such an exception also catches it. Every other exception is a bug.
"""

from shared.facts import NO_FACTS, Facts
from shared.reasons import DecoderCode, RejectedCode, UndecodableCode


class AttachmentsError(Exception):
    """The base class of all failures that the service expects."""


class SettingsError(AttachmentsError):
    """Settings are missing or wrong. The message lists every fault in its own line."""


class CannotListen(AttachmentsError):
    """The API cannot listen on its address. The message names setting, address and cause."""


class StoreError(AttachmentsError):
    """The object store did not carry out a request."""


class ObjectMissing(StoreError):
    """There is no such object (404)."""


class ObjectEmpty(StoreError):
    """The object has no bytes, so no range of it can be read (416)."""


class ObjectChanged(StoreError):
    """The object has another etag than the one that was asked for (412)."""


class StoreRefused(StoreError):
    """The store refused the request: wrong credentials, no such bucket, a bad request."""


class StoreUnavailable(StoreError):
    """The store did not answer in time, closed the connection, or answered 5xx or 429."""


class BucketForeign(StoreUnavailable):
    """The bucket belongs to another deployment. The message names both deployments and a remedy."""


class Rejected(AttachmentsError):
    """The file may not be kept. It is never tried again."""

    def __init__(self, code: RejectedCode) -> None:
        super().__init__(code)
        self.code: RejectedCode = code


class Undecodable(AttachmentsError):
    """No thumbnail can be made of the file, but the file is kept. It is never tried again.

    `facts` are what is known about the file: width and height if its header has them, and
    `carries_more`, which is also true if that could not be checked.
    """

    def __init__(self, code: UndecodableCode, facts: Facts = NO_FACTS) -> None:
        super().__init__(code)
        self.code: UndecodableCode = code
        self.facts = facts


class DecoderFault(AttachmentsError):
    """The decoder failed, and the file is not known to be the cause; the upload is retried."""

    def __init__(self, code: DecoderCode) -> None:
        super().__init__(code)
        self.code: DecoderCode = code


class ScannerUnavailable(AttachmentsError):
    """The scanner did not answer in time, or could not scan; the upload is retried."""


class ClaimLost(AttachmentsError):
    """Another worker has claimed the attachment, so this worker must not change it."""


class ObjectOlder(AttachmentsError):
    """The object is older than its row: it was uploaded for a lost row that had the same id."""


class IdsUndecided(AttachmentsError):
    """It is not known whether the next ids are free in the bucket. A later try may succeed."""


class IdsTaken(AttachmentsError):
    """The bucket has originals with ids above the sequence of ids. The message has the remedy."""


class Busy(AttachmentsError):
    """A limited part of the service is in use, such as the connections or the decoders.

    `own` is true if the caller's organization has reached its own limit. `waited` is false if the
    caller was refused at once, without waiting.
    """

    def __init__(self, *, own: bool, waited: bool = False) -> None:
        super().__init__("the caller's own share is in use" if own else "all places are in use")
        self.own = own
        self.waited = waited


class QueueAway(AttachmentsError):
    """The queue of events did not carry out a request.

    `refused` is true if a retry cannot succeed. `of_messages` is true if the queue answered, but
    did not carry out the request for some of the messages.
    """

    def __init__(self, fault: str, *, refused: bool = False, of_messages: bool = False) -> None:
        super().__init__(fault)
        self.refused = refused
        self.of_messages = of_messages


class UnreadableEvent(AttachmentsError):
    """An authenticated event has no content that the service can use."""


class SnsRefused(AttachmentsError):
    """A message in SNS's format is not proven to be from SNS, or is not for this service."""


class SnsUnreachable(AttachmentsError):
    """SNS did not serve its certificate or confirm a subscription. A retry may succeed."""
