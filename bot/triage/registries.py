"""What a registry says of a token: whether it works, what it may publish, whose that is."""

from __future__ import annotations

from bot.errors import NotFound, ProviderError
from bot.model import Credential, Liveness, Reached
from bot.registries import REGISTRY_OF
from bot.world import Registry, World

PUBLISHER = 40  # how much it says of the owner that the registry names an account of the package
_MOST = 20  # packages that are looked into


def registry_liveness(world: World, credential: Credential) -> tuple[Liveness, str]:
    """Asked in the way that changes nothing there. Raises bot.errors when the registry does not answer."""
    asked, secret = world.registries.get(REGISTRY_OF[credential.kind]), world.secrets.of(credential.key)
    if asked is None or secret is None:
        return Liveness.UNKNOWN, "its registry can only be asked with the token itself, and it is not held"
    return asked.tried(secret, credential.account)


class Published:
    """The packages of a token: who owns them, and which repository they come from. Reads only."""

    def __init__(self, world: World, credential: Credential, unknown: list[str]) -> None:
        self._asked: Registry | None = world.registries.get(REGISTRY_OF[credential.kind])
        self._unknown = unknown
        self.packages = self._packages(world, credential)

    def _packages(self, world: World, credential: Credential) -> tuple[str, ...]:
        secret = world.secrets.of(credential.key)
        if self._asked is None or secret is None:
            return ()
        try:
            found = self._asked.packages_of(secret, credential.account)
        except ProviderError as exc:
            self._unknown.append(f"Which packages the token may publish could not be asked: {exc}")
            return ()
        if not found:
            self._unknown.append(f"Which packages the token may publish, neither it nor {self._asked.label} tells")
        return found[:_MOST]

    def home(self) -> str:
        """The repository that all of them name; '' when they name several, or none."""
        named: set[str] = set()
        for package in self.packages:
            try:
                named.add(self._asked.home(package) if self._asked else "")
            except NotFound:
                continue
            except ProviderError as exc:
                self._unknown.append(f"From where {package} comes could not be asked: {exc}")
        named.discard("")
        if len(named) > 1:
            self._unknown.append(f"Its packages come from several repositories: {', '.join(sorted(named))}")
        return named.pop() if len(named) == 1 else ""

    def reach(self) -> list[Reached]:
        """One entry a package. None is a credential, so none is a row of the ledger."""
        label, how = self._asked.label if self._asked else "", "the token may publish it"
        return [Reached(kind="package", name=name, scope=label, how=how) for name in self.packages]

    def claims(self) -> tuple[tuple[str, int, str], ...]:
        """Who may own the token: the accounts that its packages belong to."""
        found: list[tuple[str, int, str]] = []
        for package in self.packages:
            try:
                names = self._asked.owners(package) if self._asked else ()
            except ProviderError as exc:
                self._unknown.append(f"Who owns {package} could not be asked: {exc}")
                continue
            label = self._asked.label if self._asked else ""
            found += [(name, PUBLISHER, f"{label} names them an owner of {package}") for name in names]
        return tuple(found)
