"""Is a map invertible, and is its log_det true?"""

from pushforward.verification.invertibility import verify
from pushforward.verification.result import Verification

__all__ = ["Verification", "verify"]
