"""How a round is counted. Pure: votes, members, digests and the time come in, a standing comes out.

The rules, in order of precedence:

1. The first standing `reject` or `ask` of somebody eligible ends the round, also one that had enough approvals.
2. Approved: for some way to satisfy every choice, distinct people fill every seat. Seats are filled by matching, so a
   person in two groups takes whichever seat helps, and never two.
3. Expired: the time is over. Votes cast after it do not count.
4. Blocked: no way to fill the seats, even if everybody eligible approved, backups included.
5. Open.

A vote stands for a requirement while the digests of the sections it covers are the current ones, until its speaker asks
for changes or rejects. Who played an excluded part may not sit; where that leaves too few, the backup group is asked too;
a requirement never becomes empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, combinations, product
from math import comb, prod
from typing import Final

from airboss.decide.approvals.model import (
    ENDED_BY_A_WORD,
    PRESENTATION,
    Choice,
    OpenSeats,
    Outcome,
    Requirement,
    Round,
    Seat,
    Standing,
    Verdict,
    Vote,
)
from airboss.decide.approvals.seats import match, reachable
from airboss.kernel.errors import Invalid

MOST_WAYS: Final = 1_000
MOST_SEATS: Final = 50
TAKES_BACK: Final = frozenset({Verdict.REJECT, Verdict.ASK})
"""What takes back the approvals its speaker gave before, in this round and in those before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """One way to satisfy every choice: its seats, and who may take each."""

    requirements: tuple[Requirement, ...]
    seats: tuple[int, ...]  # seat → index of its requirement
    pools: tuple[frozenset[str], ...]  # requirement → who may sit
    short: tuple[Requirement, ...]  # requirements that cannot be met even if everybody came


def check(choices: Sequence[Choice], excluded: Mapping[str, frozenset[str]], sections: Mapping[str, str]) -> None:
    """Refuse choices that ask for nothing, for too much, or for what nobody knows (a part, a section). Raises Invalid.

    A vote that covers no section would stand whatever became of the change, so that is refused too.
    """
    for requirement in chain.from_iterable(choice.of for choice in choices):
        bound = covered(requirement, sections)
        if not bound or bound - set(sections):
            raise Invalid(
                f"the approval of {requirement.group} covers {', '.join(sorted(bound)) or 'nothing'}, but the change "
                f"has {', '.join(sorted(sections)) or 'no sections'}",
                code="bad-approval",
            )
        if requirement.least < 1:
            raise Invalid(f"{requirement.group} is asked for {requirement.least} people", code="bad-approval")
        if unknown := requirement.distinct_from - set(excluded):
            raise Invalid(
                f"nobody said who the {' and '.join(sorted(unknown))} of this change are, yet {requirement.group} "
                "must be distinct from them",
                code="bad-approval",
                way_out=f"known are: {', '.join(sorted(excluded)) or 'none'}",
            )
    if not choices or not all(choice.of for choice in choices):
        raise Invalid("an approval round that asks for nobody", code="bad-approval")
    for choice in choices:
        if not 1 <= choice.take <= len(choice.of):
            raise Invalid(f"{choice.take} of {len(choice.of)} requirements cannot be taken", code="bad-approval")
    ways = prod(comb(len(choice.of), choice.take) for choice in choices)
    seats = sum(requirement.least for choice in choices for requirement in choice.of)
    if ways > MOST_WAYS or seats > MOST_SEATS:
        raise Invalid(
            f"{ways} ways to fill {seats} seats are more than {MOST_WAYS} or {MOST_SEATS}", code="bad-approval"
        )


def covered(requirement: Requirement, current: Mapping[str, str]) -> frozenset[str]:
    """Return the sections a vote for this requirement is bound to."""
    return requirement.covers if requirement.covers is not None else frozenset(current) - {PRESENTATION}


def changed_under(vote: Vote, requirement: Requirement, current: Mapping[str, str]) -> frozenset[str]:
    """Return the covered sections that are no longer what the voter saw. A section unknown on either side differs."""
    return frozenset(
        section
        for section in covered(requirement, current)
        if section not in current or vote.sections.get(section) != current[section]
    )


def eligible_for(round_: Round, eligible: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return everybody who may vote in the round."""
    return _everybody(_ways(round_, eligible))


def tally(
    round_: Round,
    votes: Iterable[Vote],
    *,
    eligible: Mapping[str, frozenset[str]],
    current_sections: Mapping[str, str],
    now: datetime,
) -> Standing:
    """Count a round. `eligible` maps each of `round_.groups` to its members' handles; a missing group is empty.

    Votes of earlier rounds may be given too: their approvals count while they stand, their other words do not.
    """
    ways = _ways(round_, eligible)
    everybody = _everybody(ways)
    cast = sorted((vote for vote in votes if vote.at < round_.expires_at), key=lambda vote: (vote.at, vote.id))
    ending = _ending_word(round_, cast, everybody, current_sections)
    approvals = [
        vote
        for vote in cast
        if vote.verdict is Verdict.APPROVE and vote.person in everybody and not _taken_back(vote, cast)
    ]
    best, seated = _fullest(ways, approvals, current_sections)
    filled = tuple(
        Seat(group=best.requirements[best.seats[seat]].group, person=seated[seat]) for seat in sorted(seated)
    )
    full = len(seated) == len(best.seats)
    if ending is not None:
        outcome = Outcome.REJECTED if ending.verdict is Verdict.REJECT else Outcome.ASKED
    elif full:
        outcome = Outcome.APPROVED
    elif now >= round_.expires_at:
        outcome = Outcome.EXPIRED
    elif all(way.short for way in ways):
        outcome = Outcome.BLOCKED
    else:
        outcome = Outcome.OPEN
    waiting = outcome is Outcome.OPEN
    missing = () if full or outcome in ENDED_BY_A_WORD else _missing(best, approvals, current_sections)
    standing = Standing(
        outcome=outcome,
        seats=filled,
        missing=missing,
        may=_may(ways, approvals, current_sections) if waiting else frozenset(),
        sentence="",
        eligible=everybody,
        stale=_stale(ways, approvals, current_sections),
    )
    return _told(standing, round_, ending, ways)


def _ways(round_: Round, eligible: Mapping[str, frozenset[str]]) -> tuple[_Way, ...]:
    takes = product(*(combinations(choice.of, choice.take) for choice in round_.choices))
    return tuple(_way(round_, tuple(chain.from_iterable(take)), eligible) for take in takes)


def _way(round_: Round, requirements: tuple[Requirement, ...], eligible: Mapping[str, frozenset[str]]) -> _Way:
    """Return who may sit where. Backups join only where the group itself cannot fill its seats beside the others."""
    seats = tuple(index for index, requirement in enumerate(requirements) for _ in range(requirement.least))
    pools = [_without(round_, requirement, requirement.group, eligible) for requirement in requirements]
    asked: set[int] = set()
    while True:
        by_seat = [pools[index] for index in seats]
        stuck = reachable(by_seat, match(by_seat))
        short = {seats[seat] for seats_reached in stuck.values() for seat in seats_reached}
        helped = {index for index in short - asked if requirements[index].backup}
        if not helped:
            unmet = tuple(requirements[index] for index in sorted({seats[seat] for seat in stuck}))
            return _Way(requirements=requirements, seats=seats, pools=tuple(pools), short=unmet)
        asked |= helped
        for index in helped:
            pools[index] |= _without(round_, requirements[index], requirements[index].backup or "", eligible)


def _without(
    round_: Round, requirement: Requirement, group: str, eligible: Mapping[str, frozenset[str]]
) -> frozenset[str]:
    apart = [round_.excluded.get(part, frozenset()) for part in requirement.distinct_from]
    return eligible.get(group, frozenset()).difference(*apart)


def _everybody(ways: Iterable[_Way]) -> frozenset[str]:
    return frozenset(chain.from_iterable(pool for way in ways for pool in way.pools))


def _ending_word(
    round_: Round, cast: Iterable[Vote], everybody: frozenset[str], current: Mapping[str, str]
) -> Vote | None:
    """Return the first reject or ask of this round that stands."""
    for vote in cast:
        ends = vote.verdict in {Verdict.REJECT, Verdict.ASK} and vote.round == round_.id and vote.person in everybody
        if ends and any(not changed_under(vote, requirement, current) for requirement in round_.requirements):
            return vote
    return None


def _taken_back(approval: Vote, cast: Iterable[Vote]) -> bool:
    """Return whether its speaker rejected or asked for changes since; of two words at one instant the no counts."""
    return any(
        other.verdict in TAKES_BACK and other.person == approval.person and other.at >= approval.at for other in cast
    )


def _approvers(way: _Way, approvals: Sequence[Vote], current: Mapping[str, str]) -> list[frozenset[str]]:
    """Return for each seat who may take it and has approved what it covers."""
    said = [
        frozenset(
            vote.person for vote in approvals if vote.person in pool and not changed_under(vote, requirement, current)
        )
        for requirement, pool in zip(way.requirements, way.pools, strict=True)
    ]
    return [said[index] for index in way.seats]


def _fullest(
    ways: Sequence[_Way], approvals: Sequence[Vote], current: Mapping[str, str]
) -> tuple[_Way, dict[int, str]]:
    """Return the way with the fewest empty seats, ways that can be completed first."""
    seatings = [(way, match(_approvers(way, approvals, current))) for way in ways]
    return min(seatings, key=lambda pair: (bool(pair[0].short), len(pair[0].seats) - len(pair[1])))


def _helpers(way: _Way, approvals: Sequence[Vote], current: Mapping[str, str]) -> frozenset[str]:
    """Return whose approval, given now, would fill one more seat. Asked of each kind of person once."""
    said = _approvers(way, approvals, current)
    filled = len(match(said))
    answers: dict[tuple[frozenset[int], frozenset[int]], bool] = {}
    helpers = set()
    for person in _everybody([way]):
        sits = frozenset(seat for seat, index in enumerate(way.seats) if person in way.pools[index])
        holds = frozenset(seat for seat in sits if person in said[seat])
        kind = (sits, holds)
        if holds or kind not in answers:
            with_them = [people | {person} if seat in sits else people for seat, people in enumerate(said)]
            answers[kind] = len(match(with_them)) > filled
        if answers[kind]:
            helpers.add(person)
    return frozenset(helpers)


def _missing(way: _Way, approvals: Sequence[Vote], current: Mapping[str, str]) -> tuple[OpenSeats, ...]:
    said = _approvers(way, approvals, current)
    reached = reachable(said, match(said))
    helpers = _helpers(way, approvals, current)
    open_seats = []
    for index, requirement in enumerate(way.requirements):
        empty = [seat for seat in reached if way.seats[seat] == index]
        pools = (way.pools[way.seats[seat]] for start in empty for seat in reached[start])
        if empty:
            may = helpers.intersection(chain.from_iterable(pools))
            open_seats.append(OpenSeats(group=requirement.group, count=len(empty), may=may))
    return tuple(open_seats)


def _may(ways: Iterable[_Way], approvals: Sequence[Vote], current: Mapping[str, str]) -> frozenset[str]:
    return frozenset(chain.from_iterable(_helpers(way, approvals, current) for way in ways if not way.short))


def _stale(ways: Iterable[_Way], approvals: Sequence[Vote], current: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Return the people none of whose approvals stands for a seat they may take, with the sections that changed."""
    changed: dict[str, frozenset[str]] = {}
    standing: set[str] = set()
    places = [place for way in ways for place in zip(way.requirements, way.pools, strict=True)]
    for vote in approvals:
        for requirement, pool in places:
            if vote.person not in pool:
                continue
            if under := changed_under(vote, requirement, current):
                changed[vote.person] = changed.get(vote.person, frozenset()) | under
            else:
                standing.add(vote.person)
    return {person: sections for person, sections in changed.items() if person not in standing}


def _told(standing: Standing, round_: Round, ending: Vote | None, ways: Sequence[_Way]) -> Standing:
    return replace(standing, sentence=_sentence(standing, round_, ending, ways))


def _sentence(standing: Standing, round_: Round, ending: Vote | None, ways: Sequence[_Way]) -> str:
    by = _list([f"{seat.person} ({seat.group})" for seat in standing.seats])
    match standing.outcome:
        case Outcome.REJECTED | Outcome.ASKED:
            who = ending.person if ending else "somebody"
            return f"{'Rejected' if standing.outcome is Outcome.REJECTED else 'Changes asked for'} by {who}."
        case Outcome.APPROVED:
            return f"Approved by {by}."
        case Outcome.EXPIRED:
            hours = (round_.expires_at - round_.opened_at).total_seconds() / 3600
            return f"Expired: {_needs(standing)} did not come within {hours:g} h."
        case Outcome.BLOCKED:
            return _blocked(min(ways, key=lambda way: len(way.short)))
        case Outcome.OPEN:
            waits = [f"{_seats(seats)} ({_list(sorted(seats.may), word='or')})" for seats in standing.missing]
            so_far = f" So far: {by}." if by else ""
            lost = "".join(
                f" The approval of {person} no longer stands: {_list(sorted(sections))} changed."
                for person, sections in sorted(standing.stale.items())
            )
            return f"Waits for {_list(waits)}.{so_far}{lost}"


def _blocked(way: _Way) -> str:
    """Say which seats cannot be filled and what would help."""
    parts = []
    for requirement in way.short:
        pool = way.pools[way.requirements.index(requirement)]
        apart = f", the {_list(sorted(requirement.distinct_from))} set aside" if requirement.distinct_from else ""
        backup = f"with its backup {requirement.backup} " if requirement.backup else ""
        parts.append(
            f"{requirement.group} {backup}has {len(pool)} who may vote{apart}, and {requirement.least} "
            f"{'is' if requirement.least == 1 else 'are'} needed beside the other seats"
        )
    return f"Blocked: {'; '.join(parts)}. Add members to the group or name a backup group."


def _needs(standing: Standing) -> str:
    return _list([_seats(seats) for seats in standing.missing]) or "the votes"


def _seats(seats: OpenSeats) -> str:
    return f"{seats.count} more of {seats.group}"


def _list(words: Sequence[str], *, word: str = "and") -> str:
    return f" {word} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))
