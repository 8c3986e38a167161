"""Streams whose truth is known: what a demo plays, what promises are tested on, what benchmarks measure.

Nothing of it runs in a worker.
"""

from streameval.stories.catalogue import STORIES, story
from streameval.stories.story import Change, Labels, Story
from streameval.stories.world import World

__all__ = ["STORIES", "Change", "Labels", "Story", "World", "story"]
