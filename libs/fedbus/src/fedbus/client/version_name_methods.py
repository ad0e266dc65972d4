"""Methods of the asyncio client for tags, aliases and lineage of versions."""

from fedbus.client import (
    model_names,
)
from fedbus.client.client_part import ClientPart
from fedbus.client.model_names import PAGE_VERSIONS
from fedbus.client.names import model_name, version_choice, version_name
from fedbus.wire.messages import (
    AliasMoved,
    VersionFacts,
    VersionTagged,
)
from fedbus.wire.messages.model_trail import NameChange


class VersionNameMethods(ClientPart):
    """Tag, promote and roll back versions, and trace how they descend."""

    async def tag(self, model: str, tag: str, *, note: str = "") -> VersionTagged:
        """Add a name to a version of a model; it keeps its weights until it is untagged.

            await fed.tag("digits@3", "paper")
            weights = (await fed.pull("digits@paper")).weights

        A tag of this name that another version of the model has is moved.

        Args:
            model: The model's name; with `@`, one of its versions: `digits@3`, `digits@production`.
            tag: The name: no number, not `latest`, and no alias of the model.
            note: Why, for the history of the name.

        Raises:
            Refused: there is no such version, or the name is an alias.
            Unreachable: the repository did not answer.
        """
        choice = version_choice(model)
        return await model_names.tag(self.connection, choice, version_name(tag), note)

    async def untag(self, model: str, tag: str, *, note: str = "") -> VersionTagged:
        """Remove a tag from the version that has it.

            await fed.untag("digits", "paper")

        Raises:
            Refused: there is no such model or tag.
            Unreachable: the repository did not answer.
        """
        name = version_name(tag)
        return await model_names.untag(self.connection, model_name(model), name, note)

    async def promote(
        self, model: str, alias: str, *, expected: int | None = None, note: str = ""
    ) -> AliasMoved:
        """Make an alias of a model, such as `production`, name a version.

            await fed.promote("digits@5", "production")

        Its weights are kept while the alias names it, and for three roll-backs more.

        Args:
            model: The model's name; with `@`, the version: `digits@5`, `digits@candidate`.
            alias: The alias, which is made if there is none: no number, not `latest`, no tag.
            expected: Promote only if the alias names this version now; 0: if it names none.
            note: Why, for the history of the alias.

        Raises:
            Refused: there is no such version; its weights are deleted, damaged or encrypted; or the
                alias does not name the expected version.
            Unreachable: the repository did not answer.
        """
        choice, name = version_choice(model), version_name(alias)
        return await model_names.promote(self.connection, choice, name, expected, note)

    async def roll_back(
        self, model: str, alias: str, *, expected: int | None = None, note: str = ""
    ) -> AliasMoved:
        """Make an alias name the version before; repeated, it goes further back.

            moved = await fed.roll_back("digits", "production")
            print(moved.version.version, moved.before)

        Args:
            model: The model's name.
            alias: The alias.
            expected: The version that is taken back; by default the one that the alias names now.
            note: Why, for the history of the alias.

        Raises:
            Refused: there is no such alias, no version before, or the weights of that one are
                deleted or damaged; or the alias does not name the expected version.
            Unreachable: the repository did not answer.
        """
        name = version_name(alias)
        return await model_names.roll_back(self.connection, model_name(model), name, expected, note)

    async def remove_alias(self, model: str, alias: str, *, note: str = "") -> AliasMoved:
        """Remove an alias of a model; its history stays.

            await fed.remove_alias("digits", "canary")

        Raises:
            Refused: there is no such model or alias.
            Unreachable: the repository did not answer.
        """
        name = version_name(alias)
        return await model_names.remove_alias(self.connection, model_name(model), name, note)

    async def name_changes(
        self, model: str, name: str | None = None, *, limit: int | None = PAGE_VERSIONS
    ) -> tuple[NameChange, ...]:
        """Fetch who changed tags and aliases of a model, when and why, newest first.

            for change in await fed.name_changes("digits", "production"):
                print(change.at, change.by, change.kind, change.version, change.note)

        Args:
            model: The model's name.
            name: One alias or tag; all by default.
            limit: How many changes to fetch at most; None is all of them.

        Raises:
            Refused: there is no such model, or no such name.
            Unreachable: the repository did not answer.
        """
        one = None if name is None else version_name(name)
        return await model_names.name_changes(self.connection, model_name(model), one, limit)

    async def ancestors(
        self, model: str, *, limit: int | None = PAGE_VERSIONS
    ) -> tuple[VersionFacts, ...]:
        """Fetch the versions that a version was made from, the nearest first.

            print([(each.version, each.job) for each in await fed.ancestors("digits@production")])

        A round makes its version from its base, a release from its source; a pushed version has no
        ancestors.

        Args:
            model: The model's name; with `@`, one of its versions.
            limit: How many versions to fetch at most; None is all of them.

        Raises:
            Refused: there is no such model or version.
            Unreachable: the repository did not answer.
        """
        choice = version_choice(model)
        return await model_names.relatives(self.connection, choice, "ancestors", limit)

    async def descendants(
        self, model: str, *, limit: int | None = PAGE_VERSIONS
    ) -> tuple[VersionFacts, ...]:
        """Fetch the versions that were made from a version, directly or not, in their order.

            made = await fed.descendants("digits@1", limit=None)

        Raises:
            Refused, Unreachable: as `ancestors`, which has the same arguments.
        """
        choice = version_choice(model)
        return await model_names.relatives(self.connection, choice, "descendants", limit)

    async def leaves(
        self, model: str, *, limit: int | None = PAGE_VERSIONS
    ) -> tuple[VersionFacts, ...]:
        """Fetch the versions of a model that no version was made from, in their order.

            print([each.version for each in await fed.leaves("digits")])

        With `@`, only descendants of that version.

        Raises:
            Refused, Unreachable: as `ancestors`, which has the same arguments.
        """
        choice = version_choice(model)
        return await model_names.relatives(self.connection, choice, "leaves", limit)
