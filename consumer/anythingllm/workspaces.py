"""Finding and creating workspaces, although AnythingLLM 1.16 takes no slug from us.

The server derives the slug from the name, and gives a second workspace of the same name a random
tail: two creators at once make two workspaces. So a workspace is created with its slug as its name,
and a creator that gets another slug than it wanted removes what it made and takes the other one.
One whose creation got no clear answer is looked for before it is created again (`CreationDoubts`).

Some vector databases cut or change slugs, and then two workspaces have one collection
(`vector_databases`): each finds the other's texts, and deleting one empties the other. Nothing is
stored in the one that was made later, and nothing of ours deletes either.
"""

from __future__ import annotations

from consumer.anythingllm.api import Api, checked_slug
from consumer.anythingllm.creation_doubts import CreationDoubts, pending
from consumer.anythingllm.database_in_use import DatabaseInUse
from consumer.anythingllm.errors import (
    AnythingLLMAuthenticationError,
    AnythingLLMError,
    AnythingLLMForbiddenError,
    AnythingLLMNotFoundError,
    NoWorkspaceError,
)
from consumer.anythingllm.models import SurveyedWorkspace, Workspace
from consumer.anythingllm.sole_server import SoleServer
from consumer.anythingllm.transport import Errand
from consumer.model.fault import Fault
from consumer.model.names import Slug
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

# Forbidden: the operator protects workspaces from deletion.
_STRAY_STAYS = (
    AnythingLLMAuthenticationError,
    AnythingLLMForbiddenError,
    AnythingLLMNotFoundError,
)
_NAME_LENGTH = 255  # characters; the server cuts longer names without a word


class Workspaces:
    """See the module's docstring.

    Args:
        doubts: of creations that got no clear answer; None: missing workspaces are not created.
        sole: nothing is created where this says that the server is one of several: the workspace
            may be on another one. None: that is not asked.
    """

    def __init__(
        self,
        api: Api,
        database: DatabaseInUse,
        doubts: CreationDoubts | None,
        *,
        sole: SoleServer | None = None,
    ) -> None:
        self._api = api
        self._database = database
        self._doubts = doubts
        self._sole = sole

    async def ensure(
        self, errand: Errand, slug: Slug, name: str | None = None
    ) -> tuple[SurveyedWorkspace, bool]:
        """The workspace of this slug, and whether this call created it.

        Args:
            errand: deadline and trace id.
            slug: the wanted slug.
            name: the display name if it has to be created; the slug where None.

        Raises:
            NoWorkspaceError: it does not exist and may not or can't be created (theirs).
            AnythingLLMPendingError: an earlier request may still create it.
            AnythingLLMError: anything else.
        """
        slug, doubts = checked_slug(slug), self._doubts
        may_come = doubts is not None and await doubts.may_come(slug)  # before the look
        listing = await self._api.survey(errand, slug)
        await self._refuse_shared(errand, slug, listing.workspace if listing else None)
        if listing is not None:
            if doubts is not None:
                doubts.end(slug)
            return listing, False
        if doubts is None:
            raise _unavailable(slug, "and may not be created: create it or allow it to be created")
        if may_come:
            raise pending(slug)
        created = await self._create(errand, slug, doubts)
        if created and name and name != slug:
            await self._api.rename_workspace(errand, slug, name[:_NAME_LENGTH])
        listing = await self._api.survey(errand, slug)
        if listing is None:
            raise _unavailable(slug, "although it was just created: somebody removes workspaces")
        return listing, created

    async def is_there(self, errand: Errand, slug: Slug) -> bool:
        """Whether the workspace is there; a 400 alone does not say so, a firewall answers it, too.

        Raises:
            AnythingLLMError: nobody can say.
        """
        return await self._api.survey(errand, slug) is not None

    async def others_sharing(self, errand: Errand, slug: Slug) -> tuple[Workspace, ...]:
        """The other workspaces that have the collection of this slug."""
        database = await self._database(errand)
        if not database.may_share:
            return ()
        collection = database.collection_of(slug)
        return tuple(
            each
            for each in await self._api.workspaces(errand)
            if each.slug != slug and database.collection_of(each.slug) == collection
        )

    async def _refuse_shared(self, errand: Errand, slug: Slug, own: Workspace | None) -> None:
        others = await self.others_sharing(errand, slug)
        earlier = [each for each in others if own is None or each.id < own.id]
        if earlier:
            raise AnythingLLMError(
                f"workspace {slug!r} and workspace {earlier[0].slug!r} have one collection in "
                "AnythingLLM's vector database, which shortens or changes slugs: each finds the "
                "other's texts. Nothing is stored in it, and its documents wait: send them to a "
                "workspace whose slug differs more (ROUTING_WORKSPACE), and delete neither of the "
                "two, because that empties the other",
                fault=Fault.THEIRS,
            )

    async def _create(self, errand: Errand, slug: Slug, doubts: CreationDoubts) -> bool:
        """Create it; False when another creator was faster."""
        if self._sole is not None:
            await self._sole.check(errand.trace_id, lacks=True)
        doubts.end(slug)
        try:
            made = await self._api.new_workspace(errand, slug)
        except AnythingLLMError as error:
            if error.ambiguous:
                await doubts.begin(slug)
            if error.http_status != 400 or not await self._api.survey(errand, slug):
                raise
            return False
        if made.slug == slug:
            log.info("workspace.created", workspace=slug)
            return True
        await self._remove_stray(errand, made)
        if not await self._api.survey(errand, slug):
            raise _unavailable(slug, f"and AnythingLLM calls it {made.slug!r}: choose that slug")
        return False

    async def _remove_stray(self, errand: Errand, stray: Workspace) -> None:
        """Remove what this call made by losing the race, unless it is used already."""
        try:
            listing = await self._api.survey(errand, stray.slug)
            if listing is None or listing.rows or listing.workspace.id != stray.id:
                return
            if await self.others_sharing(errand, stray.slug):
                log.warning("workspace.stray_left", workspace=stray.slug, error="collection shared")
                return
            await self._api.delete_workspace(errand, stray.slug)
        except _STRAY_STAYS as error:
            log.warning("workspace.stray_left", workspace=stray.slug, error=error.message)
        else:
            log.info("workspace.stray_removed", workspace=stray.slug)


def _unavailable(slug: Slug, why: str) -> NoWorkspaceError:
    return NoWorkspaceError(
        f"workspace {slug!r} does not exist in AnythingLLM {why}", fault=Fault.THEIRS
    )
