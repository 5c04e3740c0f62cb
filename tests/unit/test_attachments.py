"""Tests of the record class of an attachment."""

import inspect
import re
from dataclasses import fields

from shared.attachments import Attachment


def test_every_field_has_a_line_about_its_value() -> None:
    source = inspect.getsource(Attachment)
    explained = re.findall(r"^    #: [A-Z`].*[.]\n    (\w+): ", source, re.MULTILINE)
    assert explained == [each.name for each in fields(Attachment)]
