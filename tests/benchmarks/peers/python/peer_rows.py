"""The peer's table, and its settings for connections."""

import os
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, DateTime, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DATABASE_URL: Final = make_url(os.environ["DATABASE_URL"])


class Base(DeclarativeBase):
    """The base of all tables."""


class Upload(Base):
    """One upload, from its creation until its thumbnail is stored."""

    __tablename__ = "uploads"

    key: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(default="pending")
    content_type: Mapped[str | None]
    size: Mapped[int | None] = mapped_column(BigInteger)
    width: Mapped[int | None]
    height: Mapped[int | None]
    uploaded_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    processed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
