"""Signatures of the keys of an :class:`pssh.agent.SSHAgent`, for who asks a forwarded agent.

Logging in needs none of it, as the protocol libraries sign by themselves. The cryptography is
another package's, which the extra ``parallel-ssh[agent]`` installs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pssh.agent import AgentKey
from pssh.agent_protocol import packet
from pssh.exceptions import InvalidAPIUseError, PKeyFileError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

#: What a request may ask of an RSA key (draft-ietf-sshm-ssh-agent, section 4.6.1).
_RSA_SHA2_256, _RSA_SHA2_512 = 2, 4


def require() -> None:
    """Raise where the extra is not installed.

    :raises InvalidAPIUseError: naming it.
    """
    try:
        import bcrypt  # noqa: F401
        import cryptography  # noqa: F401
    except ImportError as ex:
        raise InvalidAPIUseError(
            "Forwarding a pssh.agent.SSHAgent needs the packages cryptography and bcrypt: "
            "install parallel-ssh[agent]"
        ) from ex


class SigningKey:
    """A decrypted key.

    :param key: the key, as the agent holds it. Decrypting takes a tenth of a second.
    :raises PKeyFileError: when it cannot be used: a wrong passphrase, or a kind of key that
        cannot sign here.
    """

    __slots__ = ("_private", "blob", "comment")

    def __init__(self, key: AgentKey) -> None:
        from cryptography.hazmat.primitives import serialization

        passphrase = None if key.passphrase is None else key.passphrase.encode()
        data = key.file.data
        try:
            if b"BEGIN OPENSSH PRIVATE KEY" in data:
                self._private: Any = serialization.load_ssh_private_key(data, passphrase)
            else:
                self._private = serialization.load_pem_private_key(data, passphrase)
            line = self._private.public_key().public_bytes(
                serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
            )
        except (ValueError, TypeError) as ex:
            raise PKeyFileError("The private key %s cannot be used: %s", key.file.name, ex) from ex
        #: The public key (RFC 4253 section 6.6).
        self.blob = _decoded(line)
        self.comment = key.file.name

    def sign(self, data: bytes, flags: int) -> bytes:
        """Return a signature (RFC 4253 section 6.6).

        :param flags: of the request: how an RSA key is to sign.
        """
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

        private = self._private
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return packet(b"ssh-ed25519") + packet(private.sign(data))
        if isinstance(private, rsa.RSAPrivateKey):
            name, algorithm = _rsa_algorithm(flags)
            signature = private.sign(data, padding.PKCS1v15(), algorithm)
            return packet(name) + packet(signature)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        r, s = utils.decode_dss_signature(
            private.sign(data, ec.ECDSA(_ecdsa_hash(private.key_size)))
        )
        name = f"ecdsa-sha2-nistp{private.key_size}".encode()
        # RFC 5656 section 3.1.2.
        return packet(name) + packet(_mpint(r) + _mpint(s))


def _rsa_algorithm(flags: int) -> tuple[bytes, HashAlgorithm]:
    from cryptography.hazmat.primitives import hashes

    if flags & _RSA_SHA2_512:
        return b"rsa-sha2-512", hashes.SHA512()
    if flags & _RSA_SHA2_256:
        return b"rsa-sha2-256", hashes.SHA256()
    return b"ssh-rsa", hashes.SHA1()


def _ecdsa_hash(bits: int) -> HashAlgorithm:
    """Return what goes with a curve (RFC 5656 section 6.2.1)."""
    from cryptography.hazmat.primitives import hashes

    if bits <= 256:
        return hashes.SHA256()
    return hashes.SHA384() if bits <= 384 else hashes.SHA512()


def _decoded(line: bytes) -> bytes:
    import base64

    return base64.b64decode(line.split()[1])


def _mpint(number: int) -> bytes:
    """RFC 4251 section 5; the numbers here are positive."""
    return packet(number.to_bytes(number.bit_length() // 8 + 1, "big"))
