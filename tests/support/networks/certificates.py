"""Certificates for tests: a CA, and servers that it vouches for, or not."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Authority:
    """A CA with its certificate in a file."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = self._builder(self._name, self._key.public_key(), timedelta(days=1))
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = {name: name in ("key_cert_sign", "crl_sign") for name in _USAGES}
        made = made.add_extension(x509.KeyUsage(**usage), critical=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def vouch(
        self,
        address: str = "127.0.0.1",
        ends_in: timedelta = timedelta(days=1),
        begins_in: timedelta = timedelta(days=-2),
    ) -> tuple[str, str]:
        """Return the files of a server's certificate and key; the address may be a name."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bridge")])
        made = self._builder(name, key.public_key(), ends_in, begins_in)
        try:
            name_of: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(address))
        except ValueError:
            name_of = x509.DNSName(address)
        signed = made.add_extension(x509.SubjectAlternativeName([name_of]), critical=False).sign(
            self._key, hashes.SHA256()
        )
        stem = f"server-{signed.serial_number:x}"
        certificate, key_file = self._folder / f"{stem}.pem", self._folder / f"{stem}.key"
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        key_file.write_bytes(key.private_bytes(pem, pkcs8, plain))
        return str(certificate), str(key_file)

    def _builder(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePublicKey,
        ends_in: timedelta,
        begins_in: timedelta = timedelta(days=-2),
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now + begins_in).not_valid_after(now + ends_in)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(identifier, critical=False).add_extension(issuer, critical=False)


_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
