"""What matching found, per series and for the study, in Python and in JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from enhancement.errors import AmbiguousMatch, MissingRole
from enhancement.settings import Role

SeriesUids = tuple[str, ...]


@dataclass(frozen=True)
class SeriesReport:
    """One series: what it is, whether it can be read, and why.

    `role` is what the series is, also when another one was chosen for the role; `reason` says which.
    `spacing_mm` and `size` are (x, y, z) of one volume, () where the headers do not form one.
    """

    series_instance_uid: str
    series_description: str
    role: Role | None
    reason: str
    b_values: tuple[float, ...]
    frames: int
    spacing_mm: tuple[float, ...]
    size: tuple[int, ...]
    usable: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "series_instance_uid": self.series_instance_uid,
            "series_description": self.series_description,
            "role": None if self.role is None else str(self.role),
            "reason": self.reason,
            "b_values": [int(b) if b == int(b) else b for b in self.b_values],
            "frames": self.frames,
            "spacing_mm": [round(step, 4) for step in self.spacing_mm],
            "size": list(self.size),
            "usable": self.usable,
        }


@dataclass(frozen=True)
class Hold:
    """Why a role is held for a person: a stable code, what is wrong, and what would settle it."""

    code: str
    why: str
    settled_by: str


@dataclass(frozen=True)
class PairReport:
    """How sure it is that T1 is without contrast and T1c with it, from what, and what would change it.

    `certainty` is "sure" (two sources agree and none contradicts), "likely" (one source) or "weak" (a source
    contradicts, or nothing tells of the T1).
    """

    certainty: str
    evidence: tuple[str, ...]
    would_change: tuple[str, ...]
    unlike_in: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "certainty": self.certainty,
            "evidence": list(self.evidence),
            "would_change": list(self.would_change),
            "unlike_in": list(self.unlike_in),
        }


@dataclass(frozen=True)
class StudyMatch:
    """Which series plays which role in a study.

    `roles` holds one SeriesInstanceUID per role; DWI may hold several, as a tuple, where b = 0 and b > 0 lie in
    series of their own. `missing` are the required and wanted roles that no series plays (a scanner's ADC map
    stands in for DWI); `ambiguous` the roles that a person must decide, with the candidates, and `holds` why.
    """

    roles: Mapping[Role, str | SeriesUids]
    missing: tuple[Role, ...]
    ambiguous: Mapping[Role, SeriesUids]
    decision: str
    series: tuple[SeriesReport, ...]
    holds: Mapping[Role, Hold] = field(default_factory=dict)
    pair: PairReport | None = None

    def uids(self, role: Role) -> SeriesUids:
        """All series chosen for a role; () where there is none."""
        found = self.roles.get(role, ())
        return (found,) if isinstance(found, str) else found

    def judged(self, required: Collection[Role], wanted: Collection[Role]) -> StudyMatch:
        """The same match, with `missing` and `decision` for what one use of the study requires and wants."""
        asked = dict.fromkeys((*required, *wanted))
        absent = [role for role in asked if role not in self.roles and role not in self.ambiguous]
        if Role.ADC in self.roles and Role.DWI in absent:  # a scanner's map stands in for its images
            absent.remove(Role.DWI)
        lacking = [role for role in absent if role in required]
        held = [role for role in self.ambiguous if role in asked]
        decision = f"process without {', '.join(absent)}" if absent else "process"
        if lacking:
            decision = f"reject: no series for {', '.join(lacking)}"
        elif held:
            decision = self._hold(held)
        return replace(self, missing=tuple(absent), decision=decision)

    def _hold(self, held: Sequence[Role]) -> str:
        """Contrast first: it must be settled before anything can be ranked."""
        for role in held:
            hold = self.holds.get(role)
            if hold is not None and hold.code.startswith("CONTRAST_"):
                return f"hold: {hold.why}, for {', '.join(held)}; {hold.settled_by}"
        return f"hold: nothing ranks the series for {', '.join(held)}"

    def require(self, *roles: Role) -> None:
        """Make sure that these roles are played.

        Raises
        ------
        AmbiguousMatch
            If a person must choose among the candidates of one of them.
        MissingRole
            If no series plays one of them.
        """
        for role in roles:
            if candidates := self.ambiguous.get(role):
                raise self._held(role, candidates)
        for role in roles:
            if role not in self.roles:
                # Roles, not descriptions: free text of the site may name the patient, and this ends up in logs.
                found = ", ".join(str(report.role or "none of ours") for report in self.series[:20])
                raise MissingRole(
                    f"A {role} series is needed, and none of {len(self.series)} series is one: found {found}.",
                    code=f"MISSING_{role}",
                    advice="Look at the reasons per series; add a rule if one of them is meant.",
                )

    def _held(self, role: Role, candidates: SeriesUids) -> AmbiguousMatch:
        hold = self.holds.get(role)
        if hold is None or hold.code == f"AMBIGUOUS_{role}":
            return AmbiguousMatch(
                f"One {role} series is needed, and nothing ranks these: {', '.join(candidates)}.",
                code=f"AMBIGUOUS_{role}",
                advice="Start the study by hand with the series named, or add a rule that leaves one out.",
            )
        advice = f"{hold.settled_by[0].upper()}{hold.settled_by[1:]}; or start the study by hand with the series named."
        what = f"A {role} series is needed; {hold.why}: {', '.join(candidates)}."
        return AmbiguousMatch(what, code=hold.code, advice=advice)

    def to_json(self) -> dict[str, Any]:
        """The study's match as plain JSON values."""
        return {
            "roles": {str(role): uid if isinstance(uid, str) else list(uid) for role, uid in self.roles.items()},
            "missing": [str(role) for role in self.missing],
            "ambiguous": {str(role): list(uids) for role, uids in self.ambiguous.items()},
            "decision": self.decision,
            "series": [report.to_json() for report in self.series],
            "pair": None if self.pair is None else self.pair.to_json(),
            "holds": {
                str(role): {"code": hold.code, "why": hold.why, "settled_by": hold.settled_by}
                for role, hold in self.holds.items()
            },
        }
