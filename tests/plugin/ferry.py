"""Answers to the small suite's two excerpts that recite nothing, as long as what is asked for."""

CLEAN = (
    "A boat crossed the river at night while everybody in the village was asleep.",
    "Nothing was seen on the water but rain, which fell until the morning came.",
    "It rained for a while, and then an old man rowed home to his supper.",
)
