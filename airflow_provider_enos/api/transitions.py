"""Which change of a pipeline's status is worth an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from airflow_provider_enos.api.errors import InvalidSettingError
from airflow_provider_enos.api.pipeline import PipelineStatus
from airflow_provider_enos.api.watch import parse_statuses


@dataclass(frozen=True, slots=True)
class TransitionRule:
    """
    Which statuses a change leads from and to; ``None``: any.

    A change within either of them is none.
    """

    sources: frozenset[PipelineStatus] | None
    targets: frozenset[PipelineStatus] | None

    @classmethod
    def parse(cls, sources: object, targets: object) -> Self:
        """
        Read what a DAG gives: one status or several, or ``None``.

        :raises InvalidSettingError: there is none, or a status on both sides.
        """
        found = []
        for name, given in (("from_statuses", sources), ("to_statuses", targets)):
            statuses = None if given is None else parse_statuses(given, name)
            if statuses is not None and not statuses:
                raise InvalidSettingError.of(name, given, "at least one status, or None for any")
            found.append(statuses)
        if both := (found[0] or frozenset()) & (found[1] or frozenset()):
            allowed = "statuses that are not in from_statuses (None there means any)"
            raise InvalidSettingError.of("to_statuses", sorted(both), allowed)
        return cls(*found)

    def is_between(self, status: PipelineStatus) -> bool:
        """
        Whether to wait for the status that follows.

        EnOS documents no status of a pipeline that is starting or stopping; it is taken for one if
        its name is like STARTING, unless the rule names it. No status at all tells nothing.
        """
        is_named = status in (self.sources or ()) or status in (self.targets or ())
        is_passing = status.endswith("ING") or status == PipelineStatus.UNKNOWN
        return status.is_in_transition and is_passing and not is_named

    def is_met(self, before: PipelineStatus, after: PipelineStatus) -> bool:
        """Whether this change is one to tell of; neither status is between others."""
        leaves = self.sources is None or (before in self.sources and after not in self.sources)
        comes = self.targets is None or (after in self.targets and before not in self.targets)
        return before != after and leaves and comes
