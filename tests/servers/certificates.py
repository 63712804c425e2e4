"""An authority that signs OpenSSH certificates, and what makes a server trust it."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.servers.account import Account
from tests.servers.keys import create_key, public_path
from tests.servers.process import find_program

#: ``-V`` of ssh-keygen, in the middle of days, so that they are the same days in every time zone.
EXPIRED = "20200101120000Z:20200102120000Z"
NOT_YET_VALID = "20500101120000Z:20500102120000Z"

_numbers = itertools.count(1)


class CertificateAuthority:
    """A key that signs others.

    :param folder: an existing folder for its key and what it signs.
    :param kind: the kind of its key.

    Attribute: ``public``, the path of its public key.
    """

    def __init__(self, folder: Path, kind: str = "ed25519") -> None:
        self._folder = folder
        self._key = create_key(folder / "authority", kind)
        self.public = public_path(self._key)

    def certify(
        self,
        key: Path,
        *,
        principals: Sequence[str] = (),
        identity: str = "a test",
        serial: int = 0,
        validity: str = "always:forever",
        options: Sequence[str] = (),
        host: bool = False,
    ) -> Path:
        """Sign a key.

        :param key: either half's path.
        :param principals: who may log in with it; none at all means nobody, or, long ago, anybody.
        :param identity: what the server calls it in its log.
        :param validity: as ssh-keygen's ``-V``.
        :param options: as ssh-keygen's ``-O``, for instance ``force-command=date``.
        :param host: sign a host's key, not a user's.
        :returns: the certificate's path, which is not beside the key.
        """
        public = self._folder / f"{next(_numbers)}-{key.name.removesuffix('.pub')}.pub"
        shutil.copy(public_path(key), public)
        subprocess.run(
            [
                find_program("ssh-keygen", "openssh-client"),
                *("-q", "-s", str(self._key), "-I", identity, "-z", str(serial), "-V", validity),
                *(("-n", ",".join(principals)) if principals else ()),
                *(part for option in options for part in ("-O", option)),
                *(("-h",) if host else ()),
                str(public),
            ],
            check=True,
            stdin=subprocess.DEVNULL,
        )
        return public.with_name(f"{public.stem}-cert.pub")


def trusting(
    authority: CertificateAuthority, account: Account, principals: Sequence[str] | None = None
) -> dict[str, str]:
    """The sshd_config keywords of a server that trusts the authority.

    :param account: the account that the certificates are for.
    :param principals: the principals that may log in, by default the login name.
    """
    options = {"TrustedUserCAKeys": str(authority.public)}
    if principals is not None:
        # sshd reads this file as the account, which cannot enter the folders of root's tests.
        path = account.folder / f"principals-{next(_numbers)}"
        path.write_text("".join(f"{principal}\n" for principal in principals))
        account.give(path, 0o600)
        options["AuthorizedPrincipalsFile"] = str(path)
    return options
