"""Reads an upload: multipart/form-data, streamed into a temporary file within bounds of size, parts and time."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive

from serving.app.core.problems import ClientDisconnected, invalid, not_multipart, refused_field, too_large, too_slow
from serving.app.documents.wire import FIELDS, UploadIn

FORM: Final = "multipart/form-data"
MOST_FIELDS: Final = 128  # besides the file
FIELD_BYTES: Final = 16_384
HEAD_BYTES: Final = 65_536  # of a request beside its file


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has come whole, with the fields beside it."""

    file: UploadFile
    name: str
    size: int
    fields: UploadIn

    async def data(self) -> bytes:
        """The bytes, all in memory."""
        await self.file.seek(0)
        return await self.file.read()


@asynccontextmanager
async def received(headers: Headers, receive: Receive, *, most: int, timeout_s: float) -> AsyncIterator[Upload]:
    """An upload, whose temporary file is removed in the end; or the problem with it."""
    kind, _, options = headers.get("content-type", "").partition(";")
    if kind.strip().lower() != FORM or "boundary=" not in options.lower():
        raise not_multipart(f"a body of {FORM} with a boundary is needed")
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most + HEAD_BYTES + MOST_FIELDS * FIELD_BYTES:
        raise too_large(most)
    parser = MultiPartParser(headers, _bounded(receive, most), max_files=1, max_fields=MOST_FIELDS, max_part_size=FIELD_BYTES)
    try:
        async with asyncio.timeout(timeout_s):
            form = await parser.parse()
    except TimeoutError:
        raise too_slow() from None
    except (MultiPartException, UnicodeError, ValueError, KeyError) as error:  # KeyError: a part without a name
        raise not_multipart(_words(error)) from None
    try:
        yield _upload(form, most)
    finally:
        await form.close()


async def _bounded(receive: Receive, most: int) -> AsyncGenerator[bytes, None]:
    """The body, until it is larger than any upload may be."""
    left = most + HEAD_BYTES + MOST_FIELDS * FIELD_BYTES
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        body = message.get("body", b"")
        left -= len(body)
        if left < 0:
            raise too_large(most)
        yield body
        if not message.get("more_body", False):
            return


def _upload(form: FormData, most: int) -> Upload:
    files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
    if len(files) != 1 or files[0][0] != "file" or not files[0][1].filename:
        raise refused_field("file", "one file is needed, in the field `file`, with its name")
    file = files[0][1]
    size = file.size or 0
    if size > most:
        raise too_large(most)
    if not size:
        raise refused_field("file", "is empty")
    return Upload(file, str(file.filename), size, _form_fields(form))


def _form_fields(form: FormData) -> UploadIn:
    """The fields beside the file; one that comes twice can be read in two ways."""
    texts = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    fields: dict[str, Any] = {}
    for name, value in texts:
        if name not in FIELDS:
            raise refused_field(name[:64], f"unknown field. Known: file, {', '.join(FIELDS)}")
        if name == "groups":
            fields.setdefault("groups", []).append(value)
        elif name in fields:
            raise refused_field(name, "is given twice")
        else:
            fields[name] = _metadata(value) if name == "metadata" else value
    if fields.get("groups") == [""]:  # said in so many words: everyone of the tenant
        fields["groups"] = []
    try:
        return UploadIn.model_validate(fields)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False)) from None


def _metadata(value: str) -> Any:
    try:
        return json.loads(value) if value.strip() else {}
    except (ValueError, RecursionError):
        raise refused_field("metadata", "is not JSON") from None


def _words(error: Exception) -> str:
    message = str(error) if isinstance(error, MultiPartException) else ""
    return f"{message[0].lower()}{message[1:]}".rstrip(".")[:200] if message else "the form cannot be read"
