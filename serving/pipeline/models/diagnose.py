"""Classifies a provider's exception: which of our errors it is, and how often a retry may help.

Judged by exception types, AWS error codes and HTTP statuses, found anywhere in the chain of causes; never by a message.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from serving.pipeline.errors import ConfigError, ModelError, RequestError, ThrottledError, TouchstoneError

THROTTLED = {
    "ThrottlingException", "ThrottledException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded",
    "ServiceQuotaExceededException", "ModelNotReadyException",
}  # fmt: skip
TRANSIENT = {
    "InternalServerException", "InternalFailure", "InternalServerError", "ServiceUnavailableException", "ServiceUnavailable",
    "ModelErrorException", "ModelStreamErrorException", "ModelTimeoutException", "DependencyFailedException", "RequestTimeout",
}  # fmt: skip
DENIED = {
    "AccessDeniedException", "AccessDenied", "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException",
    "ExpiredToken", "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken",
    "MissingAuthenticationTokenException", "OptInRequired",
}  # fmt: skip
UNKNOWN = {"ResourceNotFoundException"}
REFUSED = {"ValidationException"}  # in a frame of a stream it comes without an HTTP status

NO_CREDENTIALS = (
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound", "TokenRetrievalError",
    "SSOError", "UnknownCredentialError", "ConfigNotFound", "NoAuthTokenError",
)  # fmt: skip
WRONG_SETTING = ("NoRegionError", "InvalidRegionError", "InvalidEndpointConfigurationError", "ParamValidationError", "UnknownServiceError")
UNREACHABLE = ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ProxyConnectionError", "SSLError")
BROKEN = ("ConnectionClosedError", "HTTPClientError", "ResponseStreamingError", "IncompleteReadError", "ResponseParserError")


class Tries(IntEnum):
    """How often a failing call is tried."""

    ONE = 1  # the same call would fail the same way
    TWO = 2  # a short interruption is possible, a dead endpoint likely: fail soon
    ALL = 1000  # as often as the settings allow


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One of our errors, ready to raise, and how many tries the call gets."""

    error: TouchstoneError
    tries: Tries


def diagnose(error: Exception, name: str) -> Diagnosis:
    """The meaning of an exception raised by a call to the model `name`."""
    for link in _chain(error):
        diagnosis = _ours(link) or _by_type(link, name) or _by_aws_code(link, name) or _by_status(link, name)
        if diagnosis is not None:
            return diagnosis
    return Diagnosis(ModelError(f"{name} gave an answer that could not be read: {_short(error)}"), Tries.ALL)


def _ours(error: BaseException) -> Diagnosis | None:
    return Diagnosis(error, Tries.ONE) if isinstance(error, TouchstoneError) else None


def _by_aws_code(error: BaseException, name: str) -> Diagnosis | None:
    response = getattr(error, "response", None)
    if not isinstance(response, Mapping) or "Error" not in response:
        return None
    code = str(response["Error"].get("Code", ""))
    code = code[:1].upper() + code[1:]  # frames of an event stream name theirs with a small letter
    detail = f"{code}: {response['Error'].get('Message', '')}".removesuffix(": ")
    if code in THROTTLED:
        return _throttled(name, detail)
    if code in TRANSIENT:
        return _transient(name, detail)
    if code in DENIED:
        return _denied(name, detail)
    if code in UNKNOWN:
        return _unknown(name, detail)
    if code in REFUSED:
        return _refused(name, detail)
    return _of_status(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0), name, detail)


def _by_type(error: BaseException, name: str) -> Diagnosis | None:
    if _is(error, "botocore.exceptions", NO_CREDENTIALS):
        mend = "Run `aws configure` (or `aws sso login`), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        return Diagnosis(ConfigError(f"{name} needs AWS credentials: {_short(error)} {mend}"), Tries.ONE)
    if _is(error, "botocore.exceptions", WRONG_SETTING):
        return Diagnosis(ConfigError(f"{name} cannot be asked: {_short(error)} Check TOUCHSTONE_AWS_REGION and its parameters."), Tries.ONE)
    unreachable = _is(error, "botocore.exceptions", UNREACHABLE) or _is(error, "httpx", ("TimeoutException", "ConnectError"))
    unreachable = unreachable or _is(error, "urllib3.exceptions", ("TimeoutError",))
    if unreachable or isinstance(error, TimeoutError | ConnectionRefusedError):
        mend = "Check the endpoint (TOUCHSTONE_BEDROCK_ENDPOINT for Bedrock), the region and the network: touchstone doctor"
        return Diagnosis(ModelError(f"{name} did not answer: {_short(error)} {mend}"), Tries.TWO)
    broken = _is(error, "botocore.exceptions", BROKEN) or _is(error, "botocore.eventstream", ("ParserError",))
    broken = broken or _is(error, "botocore.parsers", ("ResponseParserError",)) or _is(error, "urllib3.exceptions", ("HTTPError",))
    if broken or _is(error, "httpx", ("TransportError",)) or isinstance(error, ConnectionError):
        return _transient(name, _short(error))
    if _is(error, "langchain_core.exceptions", ("ContextOverflowError",)):
        return Diagnosis(
            RequestError(f"The prompt is longer than {name} can read: {_short(error)} Lower answer.context_tokens."), Tries.ONE
        )
    return None


def _by_status(error: BaseException, name: str) -> Diagnosis | None:
    """For the many clients whose errors carry an HTTP status, on themselves or on their response."""
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return _of_status(status, name, f"HTTP {status}: {_short(error)}")
    return None


def _of_status(status: int, name: str, detail: str) -> Diagnosis | None:
    if status == 429:
        return _throttled(name, detail)
    if status in (408, 409) or status >= 500:
        return _transient(name, detail)
    if status in (401, 403):
        return _denied(name, detail)
    if status == 404:
        return _unknown(name, detail)
    if 400 <= status < 500:
        return _refused(name, detail)
    return None


def _throttled(name: str, detail: str) -> Diagnosis:
    mend = "Lower TOUCHSTONE_MODEL_CONCURRENCY, raise TOUCHSTONE_MODEL_ATTEMPTS, or ask the provider for a higher quota."
    return Diagnosis(ThrottledError(f"{name} kept asking for patience. {detail} {mend}"), Tries.ALL)


def _transient(name: str, detail: str) -> Diagnosis:
    return Diagnosis(ModelError(f"{name} failed. {detail} Try again later."), Tries.ALL)


def _denied(name: str, detail: str) -> Diagnosis:
    mend = "Check the credentials (`aws sts get-caller-identity` for Bedrock), their rights and the account's access to this model."
    return Diagnosis(ConfigError(f"{name} refused the credentials. {detail} {mend}"), Tries.ONE)


def _refused(name: str, detail: str) -> Diagnosis:
    """A wrong parameter and a forbidden text have the same code: only other calls can tell them apart."""
    return Diagnosis(RequestError(f"{name} refused the request. {detail} Check the model's name and its parameters."), Tries.ONE)


def _unknown(name: str, detail: str) -> Diagnosis:
    return Diagnosis(ConfigError(f"{name} is not known there. {detail} Check the model's name and TOUCHSTONE_AWS_REGION."), Tries.ONE)


def _is(error: BaseException, module: str, names: tuple[str, ...]) -> bool:
    """Whether an error is one of a module's classes; a module that was never imported raised nothing."""
    loaded: Any = sys.modules.get(module)
    return any(isinstance(error, getattr(loaded, name, ())) for name in names) if loaded else False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes, to the root."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _short(error: BaseException, most: int = 300) -> str:
    text = " ".join(str(error).split()) or "no words"
    text = text if len(text) <= most else text[: most - 1] + "…"
    return f"{type(error).__name__}: {text}" + ("" if text.endswith((".", "!", "?", "…")) else ".")
