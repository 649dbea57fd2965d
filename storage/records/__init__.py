"""The nouns of the engine: frozen records that cross every boundary.

Frames and units, everywhere: images are HWC uint8 RGB, masks are HW bool, boxes are XYXY in pixels of the
original image with right and bottom exclusive, probabilities and scores lie in [0, 1].
"""

from storage.records.appended import Decision as Decision
from storage.records.appended import Drawn as Drawn
from storage.records.appended import Reliability as Reliability
from storage.records.appended import Review as Review
from storage.records.appended import Scope as Scope
from storage.records.appended import Verdict as Verdict
from storage.records.appended import Weight as Weight
from storage.records.labels import HUMAN as HUMAN
from storage.records.labels import Candidate as Candidate
from storage.records.labels import Label as Label
from storage.records.labels import Lineage as Lineage
from storage.records.labels import Proposal as Proposal
from storage.records.labels import Role as Role
from storage.records.labels import Scores as Scores
from storage.records.labels import Status as Status
from storage.records.labels import Witness as Witness
from storage.records.pairs import MISSING as MISSING
from storage.records.pairs import Box as Box
from storage.records.pairs import Moment as Moment
from storage.records.pairs import Rle as Rle
from storage.records.pairs import Sample as Sample
from storage.records.pairs import image_sha as image_sha
from storage.records.pairs import sample_id as sample_id
from storage.records.rejections import INPUT_STAGE as INPUT_STAGE
from storage.records.rejections import OF_OTHER_RECORDS as OF_OTHER_RECORDS
from storage.records.rejections import REASONS as REASONS
from storage.records.rejections import Rejection as Rejection
from storage.records.results import UNKNOWN as UNKNOWN
from storage.records.results import UNSTATED as UNSTATED
from storage.records.results import Input as Input
from storage.records.results import PartResult as PartResult
from storage.records.results import Timing as Timing
