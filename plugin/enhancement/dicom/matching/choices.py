"""What has been chosen so far, role by role, with the reason of every series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from enhancement.dicom.matching.candidates import Candidate
from enhancement.dicom.matching.ranking import rank
from enhancement.dicom.matching.report import Hold
from enhancement.settings import Role

_EQUAL = "start the study by hand with the series named, or add a rule that leaves one out"


@dataclass
class Choices:
    """Roles with the series that play them, roles that are held, and reasons by SeriesInstanceUID."""

    reasons: dict[str, str]
    roles: dict[Role, str | tuple[str, ...]] = field(default_factory=dict)
    ambiguous: dict[Role, tuple[str, ...]] = field(default_factory=dict)
    holds: dict[Role, Hold] = field(default_factory=dict)

    def chosen(self, role: Role) -> tuple[str, ...]:
        """The series of a role."""
        found = self.roles.get(role, ())
        return (found,) if isinstance(found, str) else found

    def say(self, candidate: Candidate, why: str) -> None:
        """Add to the reason of a series."""
        self.reasons[candidate.uid] += f"; {why}"

    def take(self, role: Role, candidates: Sequence[Candidate], why: str = "chosen") -> None:
        """These series play the role."""
        uids = tuple(candidate.uid for candidate in candidates)
        self.roles[role] = uids[0] if len(uids) == 1 else uids
        for candidate in candidates:
            self.reasons[candidate.uid] = f"{why}: {self.reasons[candidate.uid]}"

    def hold(self, role: Role, candidates: Sequence[Candidate], hold: Hold) -> None:
        """A person must choose among these."""
        self.ambiguous[role] = tuple(candidate.uid for candidate in candidates)
        self.holds[role] = hold
        for candidate in candidates:
            self.say(candidate, f"held, {hold.why}")

    def choose(self, role: Role, fitting: Sequence[Candidate]) -> None:
        """Rank the candidates of a role and write down who won, who lost and by what."""
        if not fitting:
            return
        # A role whose only series is broken is still played by it: reading it gives the refusal that says what is
        # wrong.
        ranking = rank([candidate for candidate in fitting if candidate.usable] or fitting, role)
        if ranking.winner is not None:
            self.take(role, (ranking.winner,))
        if ranking.equals:
            self.hold(role, ranking.equals, equal_series(role, len(ranking.equals)))
        self.lost(fitting, ranking.lost_by)

    def lost(self, candidates: Sequence[Candidate], lost_by: dict[str, str]) -> None:
        """Write down by which criterion each of them lost."""
        for candidate in candidates:
            if criterion := lost_by.get(candidate.uid):
                self.say(candidate, f"not chosen, another series is better by: {criterion}")


def equal_series(role: Role, count: int) -> Hold:
    """Why a role is held whose candidates are equal by every criterion."""
    return Hold(f"AMBIGUOUS_{role}", f"nothing ranks it against {count - 1} other series", _EQUAL)
