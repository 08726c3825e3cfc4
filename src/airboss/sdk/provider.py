"""`AirbossProvider`: Airboss's flags for the ordinary OpenFeature SDK, evaluated in the service's own process.

    from openfeature import api
    from airboss.sdk import AirbossProvider
    api.set_provider(AirbossProvider("https://airboss.example", token, cache_file="/var/lib/shop/flags.json"))

No evaluation waits on a network or raises. While the server is away the last known flags stay in use; with a cache file
also after a restart.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType
from openfeature.hook import Hook
from openfeature.provider import AbstractProvider, Metadata

from airboss.sdk.evaluator import CompiledFlag, Reason, Resolution, Snapshot, compile_snapshot
from airboss.sdk.faults import BadDefinition
from airboss.sdk.follow import Follower

log = logging.getLogger("airboss.sdk")

T = TypeVar("T")


class AirbossProvider(AbstractProvider):
    """In-process evaluation of the flags of one Airboss server.

    `token` needs the scope `flags.read`; `environment` is the server's production where it is not named. `initialize` waits up to `start_timeout_s` for the first flags and then lets
    the service start without them: answers are the caller's defaults (PROVIDER_NOT_READY) until flags arrive.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        environment: str | None = None,
        cache_file: str | os.PathLike[str] | None = None,
        poll_s: float = 30.0,
        start_timeout_s: float = 2.0,
        expose: bool = True,
    ) -> None:
        super().__init__()
        self._snapshot: Snapshot | None = None
        self._stale = False
        self._start_timeout_s = start_timeout_s
        self._follower = Follower(
            base_url,
            token,
            on_flags=self._use,
            on_away=self._reached,
            environment=environment,
            cache_file=Path(cache_file) if cache_file is not None else None,
            poll_s=poll_s,
        )
        self._hooks = _exposure_hooks() if expose else []

    @property
    def revision(self) -> int | None:
        """The revision of the flags in use, None before the first."""
        return self._snapshot.revision if self._snapshot else None

    def initialize(self, evaluation_context: EvaluationContext) -> None:  # noqa: ARG002 - OpenFeature's signature
        """Start following the server's flags."""
        self._follower.start()
        self._follower.fetched.wait(self._start_timeout_s)

    def shutdown(self) -> None:
        """Stop following; evaluations keep answering from the last known flags."""
        self._follower.stop()

    def get_metadata(self) -> Metadata:
        return Metadata(name="airboss")

    def get_provider_hooks(self) -> list[Hook]:
        return self._hooks

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,  # noqa: FBT001 - OpenFeature's signature
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        return self._resolve(flag_key, default_value, evaluation_context, _boolean)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        return self._resolve(flag_key, default_value, evaluation_context, _text)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        return self._resolve(flag_key, default_value, evaluation_context, _integer)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        return self._resolve(flag_key, default_value, evaluation_context, _float)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        return self._resolve(flag_key, default_value, evaluation_context, _object)

    def _resolve(
        self, flag: str, default: T, context: EvaluationContext | None, fit: Callable[[Any], Any]
    ) -> FlagResolutionDetails[T]:
        try:
            snapshot = self._snapshot
            if snapshot is None:
                return _error(default, "PROVIDER_NOT_READY", "no flags have arrived yet")
            key, attributes = (context.targeting_key, context.attributes) if context else (None, {})
            answer = snapshot.evaluate(flag, key, attributes)
            if answer.error_code is not None:
                return _error(default, answer.error_code, answer.error or "", answer)
            if answer.variant is None:
                return FlagResolutionDetails(
                    value=default, reason=answer.reason, variant=None, flag_metadata=answer.metadata
                )
            value = fit(answer.value)
            if value is _UNFIT:
                detail = f"variant {answer.variant!r} of flag {flag!r} is a {type(answer.value).__name__}"
                return _error(default, "TYPE_MISMATCH", detail, answer)
            return FlagResolutionDetails(
                value=value, reason=answer.reason, variant=answer.variant, flag_metadata=answer.metadata
            )
        except Exception:
            log.exception("flag %r could not be resolved", flag)
            return _error(default, "GENERAL", "the flag could not be resolved")

    def _use(self, document: dict[str, Any]) -> None:
        before = self._snapshot
        try:
            snapshot = compile_snapshot(document, previous=before)
        except BadDefinition as fault:
            log.warning("a set of flags was refused, the last good one stays in use: %s", fault)
            return
        for flag, detail in snapshot.faults.items():
            log.warning("flag %r cannot be used, its last good revision stays in use: %s", flag, detail)
        self._snapshot = snapshot
        changed = _changed(before.flags if before else {}, snapshot.flags)
        if changed:
            self._tell(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, ProviderEventDetails(flags_changed=changed))

    def _reached(self, away: str | None) -> None:
        if away is None:
            self._stale = False
            self._tell(ProviderEvent.PROVIDER_READY, ProviderEventDetails())
        elif not self._stale and self._snapshot is not None:
            self._stale = True
            self._tell(ProviderEvent.PROVIDER_STALE, ProviderEventDetails(message=away))

    def _tell(self, event: ProviderEvent, details: ProviderEventDetails) -> None:
        try:
            self.emit(event, details)
        except Exception:
            log.exception("a handler of %s failed", event.value)


def _changed(before: Mapping[str, CompiledFlag], after: Mapping[str, CompiledFlag]) -> list[str]:
    return sorted(flag for flag in before.keys() | after.keys() if before.get(flag) is not after.get(flag))


def _exposure_hooks() -> list[Hook]:
    if find_spec("opentelemetry") is None:
        return []
    from airboss.sdk.telemetry import ExposureHook  # noqa: PLC0415 - OpenTelemetry is the service's choice

    return [ExposureHook()]


def _error(default: T, code: str, detail: str, answer: Resolution | None = None) -> FlagResolutionDetails[T]:
    return FlagResolutionDetails(
        value=default,
        error_code=ErrorCode[code],
        error_message=detail,
        reason=Reason.ERROR,
        flag_metadata=answer.metadata if answer else {},
    )


_UNFIT: Final = object()


def _boolean(value: Any) -> Any:
    return value if isinstance(value, bool) else _UNFIT


def _text(value: Any) -> Any:
    return value if isinstance(value, str) else _UNFIT


def _integer(value: Any) -> Any:
    return value if isinstance(value, int) and not isinstance(value, bool) else _UNFIT


def _float(value: Any) -> Any:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else _UNFIT


def _object(value: Any) -> Any:
    # A copy, because what the snapshot holds must stay what it is, whatever the caller does with its answer.
    return copy.deepcopy(value) if isinstance(value, dict | list) else _UNFIT
