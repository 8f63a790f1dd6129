"""The assessor: rates answers by prepared anchors, and proves its ratings by quotes."""

from ai.assessor.build import build_assessor
from ai.assessor.ports import AssessmentFailedError, Assessor, RatingRequest

__all__ = ["AssessmentFailedError", "Assessor", "RatingRequest", "build_assessor"]
