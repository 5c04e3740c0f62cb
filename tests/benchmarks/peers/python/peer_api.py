"""The API of the peer: FastAPI, which takes the store's events and queues a task for each."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from tests.benchmarks.peers.python.peer_rows import DATABASE_URL, Upload
from tests.benchmarks.peers.python.peer_tasks import make_thumbnail

engine = create_async_engine(DATABASE_URL.set(drivername="postgresql+asyncpg"), pool_size=10)
new_session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


class Event(BaseModel):
    """The body of an event."""

    key: str


async def open_session() -> AsyncIterator[AsyncSession]:
    """Open a session for one request."""
    async with new_session() as session:
        yield session


@app.post("/events", status_code=204)
async def record_upload(
    event: Event, session: Annotated[AsyncSession, Depends(open_session)]
) -> None:
    """Record that an object was uploaded, and have its thumbnail made."""
    found = await session.scalar(
        update(Upload)
        .where(Upload.key == event.key)
        .values(state="uploaded", uploaded_at=func.now())
        .returning(Upload.key)
    )
    await session.commit()
    if found is not None:
        # A thread for this call would cost more than the call, which blocks the loop for a moment.
        make_thumbnail.delay(event.key)
