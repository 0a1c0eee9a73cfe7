"""What the URL of a bucket means: which service, which bucket, which prefix, and how it is spoken to.

    s3://BUCKET/PREFIX?region=eu-west-1&endpoint=https://...&path_style=true&sse=aws:kms&kms_key=ARN&bucket_key=true
    gs://BUCKET/PREFIX
    az://CONTAINER/PREFIX?account=NAME

Keys are not taken from a URL, which ends up in configurations, logs and process lists: they come from the environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from artfs.errors import InvalidValue

_ENCRYPTIONS = ("AES256", "aws:kms", "aws:kms:dsse")
_BOOLEANS = {"true": True, "false": False}
_S3 = {
    "region": "region",
    "endpoint": "endpoint",
    "path_style": "virtual_hosted_style_request",
    "sse": "server_side_encryption",
    "kms_key": "sse_kms_key_id",
    "bucket_key": "sse_bucket_key_enabled",
}
_OPTIONS = {"s3": _S3, "gs": {"endpoint": "base_url"}, "az": {"account": "account_name", "endpoint": "endpoint"}}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds of a request: connecting, waiting for bytes, one attempt as a whole, and how often and long it is repeated."""

    connect_s: float = 5
    read_s: float = 60
    attempt_s: float = 180
    retries: int = 4
    retry_s: float = 30


@dataclass(frozen=True, slots=True)
class BucketUrl:
    """A parsed URL. `settings` are obstore's."""

    scheme: str
    bucket: str
    prefix: str
    settings: dict[str, Any]

    @property
    def label(self) -> str:
        """The URL without options."""
        return f"{self.scheme}://{self.bucket}{'/' if self.prefix else ''}{self.prefix}"

    @classmethod
    def parse(cls, url: str) -> BucketUrl:
        """Raises InvalidValue."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise InvalidValue("that is not a bucket", hint="write s3://BUCKET/PREFIX, gs://... or az://...") from None
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        if parts.scheme not in _OPTIONS or not parts.netloc or parts.fragment:
            raise InvalidValue(f"{shown!r} is not a bucket", hint="write s3://BUCKET/PREFIX, gs://... or az://...")
        if "@" in parts.netloc:
            raise InvalidValue(f"{shown!r} was given with a password", hint="keys come from the environment")
        prefix = parts.path.strip("/")
        if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
            raise InvalidValue(f"{shown!r} has a prefix that is not a plain path", hint="leave out '//', '.' and '..'")
        known = _OPTIONS[parts.scheme]
        settings: dict[str, Any] = {}
        for option, value in parse_qsl(parts.query, keep_blank_values=True):
            if option not in known:
                raise InvalidValue(f"{shown} has an unknown option {option!r}", hint=f"known: {', '.join(known)}")
            settings[known[option]] = _value(option, value)
        if parts.scheme == "s3" and "sse_kms_key_id" in settings:
            settings.setdefault("server_side_encryption", "aws:kms")
        return cls(parts.scheme, parts.netloc, prefix, settings)

    def connect(self, timeouts: Timeouts, credentials: dict[str, str]) -> Any:
        """obstore's client of the bucket. Raises InvalidValue when it cannot be made."""
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, GCSStore, S3Store

        made: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[self.scheme]
        client = {
            "allow_http": True,  # only for an endpoint that says http:
            "connect_timeout": timedelta(seconds=timeouts.connect_s),
            "read_timeout": timedelta(seconds=timeouts.read_s),
            "timeout": timedelta(seconds=timeouts.attempt_s),
        }
        retry = {"max_retries": timeouts.retries, "retry_timeout": timedelta(seconds=timeouts.retry_s)}
        try:
            return made(
                self.bucket,
                prefix=self.prefix or None,
                client_options=client,
                retry_config=retry,
                **self.settings,
                **credentials,
            )
        except (BaseError, ValueError):  # its text may hold keys
            raise InvalidValue(
                f"{self.label} cannot be used with these options and this environment",
                hint="check the URL's options and the variables AWS_*, GOOGLE_* or AZURE_*",
            ) from None


def _value(option: str, value: str) -> Any:
    if option in ("path_style", "bucket_key"):
        if value not in _BOOLEANS:
            raise InvalidValue(f"{option}={value} is neither true nor false")
        return _BOOLEANS[value] if option == "bucket_key" else not _BOOLEANS[value]
    if option == "sse" and value not in _ENCRYPTIONS:
        raise InvalidValue(f"sse={value} is not known", hint=f"known: {', '.join(_ENCRYPTIONS)}")
    if not value:
        raise InvalidValue(f"the option {option} is empty")
    return value
