"""How a server is reached that wants TLS, a password, or both: the settings that all servers share, and what is made of them."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, SecretStr, model_validator

from schemas.common.section import Section
from schemas.errors import SettingsError

_BEFORE_AT = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", re.DOTALL)


class ServerAccess(Section):
    """As whom, and over which TLS. A subclass says in `PREFIX` what its settings begin with."""

    NAMELESS: ClassVar[bool] = False
    """Whether the server takes a password without a name."""

    user: str | None = Field(None, min_length=1, description="name to sign in with")
    password: SecretStr | None = Field(None, description="its password; better in a file")
    password_file: Path | None = Field(None, description="file with the password alone")
    tls: bool = Field(False, description="whether the connections use TLS (1.2 at least)")
    ca_file: Path | None = Field(
        None,
        description="PEM file of the authorities that sign the server's certificate; those of the system when not set",
    )
    cert_file: Path | None = Field(None, description="PEM file with a client certificate and its chain")
    key_file: Path | None = Field(None, description="PEM file with its private key; not needed when in the same file")
    check_host: bool = Field(
        True, description="whether the server's certificate must be for the name that we connect to"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        name = self.PREFIX
        if self.password and self.password_file:
            raise ValueError(f"{name}_password and {name}_password_file are both set; leave one out")
        if self.user and not (self.password or self.password_file):
            raise ValueError(f"{name}_user needs {name}_password_file, or {name}_password")
        if (self.password or self.password_file) and not self.user and not self.NAMELESS:
            raise ValueError(f"a password without {name}_user has no use")
        files = {"ca_file": self.ca_file, "cert_file": self.cert_file, "key_file": self.key_file}
        if not self.tls and (given := next((one for one, value in files.items() if value), None)):
            raise ValueError(f"{name}_{given} has no use without {name}_tls = true")
        if self.key_file and not self.cert_file:
            raise ValueError(f"{name}_key_file has no use without {name}_cert_file")
        return self

    def secret(self) -> str:
        """The password; empty when there is none. Raises `SettingsError` when its file cannot be read, or is empty."""
        if self.password_file:
            return read_secret(self.password_file, f"{self.PREFIX}_password_file")
        return self.password.get_secret_value() if self.password else ""

    def tls_context(self) -> ssl.SSLContext | None:
        """What connections use, or None without TLS. Raises `SettingsError` when a file cannot be used."""
        if not self.tls:
            return None
        setting = f"{self.PREFIX}_ca_file"
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.check_hostname = self.check_host
            setting = f"{self.PREFIX}_cert_file"
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file, password=no_password)
        except OSError as error:  # ssl.SSLError is one
            given = (
                self.ca_file if setting.endswith("ca_file") else f"{self.cert_file} (key: {self.key_file or 'in it'})"
            )
            raise SettingsError(f"{setting} {given} cannot be used: {why_unusable(error)}") from error
        return context


def why_unusable(error: OSError) -> str:
    """What is wrong with a PEM file."""
    if isinstance(error, ssl.SSLError):
        return f"it is no PEM file with what is needed, or certificate and key do not belong together ({error.reason or error})"
    return error.strerror or str(error)


def no_password() -> str:
    """Given to `load_cert_chain`, which would ask at the terminal. Raises `SettingsError`."""
    raise SettingsError("the private key is encrypted; give one that is not, in a file that only its owner can read")


def read_secret(path: Path, name: str) -> str:
    """The text of a file without white space around it. `name` is that of the setting. Raises `SettingsError`."""
    try:
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(f"{name} {path} cannot be read: {why}") from None
    if not found or "\n" in found:
        raise SettingsError(f"{name} {path} must have one line with the password, and nothing else")
    return found


def without_credentials(text: str) -> str:
    """An address as messages may show it: what stands before an @ is hidden, since it may be a password."""
    return _BEFORE_AT.sub(lambda found: f"{found[1] or ''}(hidden)@", text)
