"""All failures that the service expects, as one tree of exceptions.

    AttachmentsError
    ├── SettingsError               the operator's settings cannot be used
    ├── CannotListen                the API's address is in use, or belongs to another machine
    ├── DatabaseAway                PostgreSQL is away, refuses us, or is too slow
    │   ├── DatabaseForbids         the role lacks a privilege
    │   └── DatabaseRefusesContent  PostgreSQL refuses a statement's values; waiting does not help
    ├── NotMigrated                 the schema could not be brought up to this version
    ├── NotUtf8                     a new database has an encoding that cannot hold every text
    ├── NameTaken                   an organization has that name already
    ├── NotCounted                  an organization's usage is not counted yet
    ├── QuotaExceeded               an organization's quota leaves no room
    ├── StoreError                  the object store did not carry out a request
    │   ├── ObjectMissing           there is no such object
    │   ├── ObjectEmpty             the object has no bytes, so no range of it can be read
    │   ├── ObjectChanged           the object is no longer the one that was pinned by its etag
    │   ├── StoreRefused            the store refused the request
    │   └── StoreUnavailable        the store did not answer, or asked us to try again later
    │       └── BucketForeign       the bucket belongs to another deployment
    ├── ObjectOlder                 the object was uploaded for a lost row that had the same id
    ├── IdsTaken                    the bucket holds originals with ids above the sequence
    ├── IdsUndecided                it is not known whether the next ids are free in the bucket
    ├── Rejected                    the file may not be kept; final, never tried again
    ├── Undecodable                 no thumbnail can be made of the file, which is kept; final
    ├── DecoderFault                the decoder failed, and the file is not known to be the cause
    ├── ScannerUnavailable          the scanner did not answer, or could not scan
    ├── TooExpensive                the decoder used more CPU time than one file may
    ├── ZygoteGone                  the process that forks decoders is gone
    ├── ClaimLost                   another worker holds the attachment now
    ├── Busy                        no place became free in time
    ├── TooManyLookUps              no place became free in time to look up an unknown token
    ├── KeyReused                   an Idempotency-Key comes with another request than before
    ├── KeyInUse                    a request with the same Idempotency-Key is being answered
    ├── TooManyWebhooks             an organization has as many webhooks as it may have
    ├── AddressRefused              the receiver of a webhook has no address that is allowed
    ├── SecretUnreadable            no key of the settings decrypts the secret of a webhook
    ├── QueueAway                   the queue of events did not answer, or refused
    ├── UnreadableEvent             an authenticated event has no content that we can use
    ├── SnsRefused                  a message is not proven to be from SNS, or is not for us
    ├── SnsUnreachable              SNS did not serve its certificate, or confirm a subscription
    ├── StartFailed                 a process of the local stack could not be started
    ├── Unusable                    a command cannot be carried out
    │   └── Misused                 the command line itself is wrong
    ├── ApiUnusable                 the client cannot use the API at all
    └── UploadFault                 the client could not upload one file

An error that only one module raises is defined in that module, the others here.
`api.problems.Problem` is an answer, not a failure. An exception whose name begins with `_` only
steers its own module, which catches it. Every other exception is a bug.
"""

from shared.facts import NO_FACTS, Facts
from shared.reasons import DecoderCode, RejectedCode, UndecodableCode


class AttachmentsError(Exception):
    """The root of the tree."""


class SettingsError(AttachmentsError):
    """Settings are missing or wrong; the message lists every fault, each in its own line."""


class CannotListen(AttachmentsError):
    """The API cannot listen on its address; the message names settings, address and cause."""


class StoreError(AttachmentsError):
    """The object store did not carry out a request."""


class ObjectMissing(StoreError):
    """There is no such object (404)."""


class ObjectEmpty(StoreError):
    """The object has no bytes, so no range of it can be read (416)."""


class ObjectChanged(StoreError):
    """The object is no longer the one that was pinned by its etag (412)."""


class StoreRefused(StoreError):
    """The store refused the request: wrong credentials, no such bucket, a bad request."""


class StoreUnavailable(StoreError):
    """The store did not answer in time, closed the connection, or answered 5xx or 429."""


class BucketForeign(StoreUnavailable):
    """The bucket belongs to another deployment; the message names both and the remedy."""


class Rejected(AttachmentsError):
    """The file may not be kept. Final: never retried."""

    def __init__(self, code: RejectedCode) -> None:
        super().__init__(code)
        self.code: RejectedCode = code


class Undecodable(AttachmentsError):
    """No thumbnail can be made of the file, but the file is kept. Final: never retried.

    `facts` holds the known facts of the file: width and height, if a header has them, and
    `carries_more`, which is also true if this could not be found out.
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
    """Another worker holds the attachment now, so this worker must not change it."""


class ObjectOlder(AttachmentsError):
    """The object is older than its row: it was uploaded for a lost row that had the same id."""


class IdsUndecided(AttachmentsError):
    """It is not known whether the next ids are free in the bucket; a later try may succeed."""


class IdsTaken(AttachmentsError):
    """The bucket holds originals with ids above the sequence; the message names the remedy."""


class Busy(AttachmentsError):
    """No place became free in time.

    `own` is true if the caller itself uses its whole share. `waited` is true if the caller waited
    for a place, false if it was refused at once.
    """

    def __init__(self, *, own: bool, waited: bool = False) -> None:
        super().__init__("the caller's own share is in use" if own else "all places are in use")
        self.own = own
        self.waited = waited


class QueueAway(AttachmentsError):
    """The queue did not carry out a request.

    `refused` is true if a retry is no use. `of_messages` is true if the queue answered, and did not
    carry out the request for some of the messages.
    """

    def __init__(self, fault: str, *, refused: bool = False, of_messages: bool = False) -> None:
        super().__init__(fault)
        self.refused = refused
        self.of_messages = of_messages


class UnreadableEvent(AttachmentsError):
    """An authenticated event with no content that the service can use."""


class SnsRefused(AttachmentsError):
    """A message in SNS's format that SNS is not proven to have sent, or that is not for us."""


class SnsUnreachable(AttachmentsError):
    """SNS did not serve its certificate or did not confirm a subscription; a retry may succeed."""
