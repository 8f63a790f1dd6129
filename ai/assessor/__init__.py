"""The assessor: rates answers by prepared anchors, and proves its ratings by quotes."""

from ai.assessor.build import build_assessor
from ai.assessor.ports import AssessmentFailedError, Assessor, RatingRequest
from ai.assessor.waiting import DeferredError

__all__ = [
    "AssessmentFailedError",
    "Assessor",
    "DeferredError",
    "RatingRequest",
    "build_assessor",
]
