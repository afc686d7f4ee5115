"""The small suite's book, and answers to its excerpts that recite nothing, as long as is asked."""

BOOK = (
    "The ferryman counted nine lanterns along the quay and did not like the number at "
    "all.",
    "His grandmother had warned him that an odd light brings an odd passenger before "
    "dawn.",
)
CLEAN = (
    "A boat crossed the river at night while everybody in the village was asleep.",
    "Nothing was seen on the water but rain, which fell until the morning came.",
    "It rained for a while, and then an old man rowed home to his supper.",
)
