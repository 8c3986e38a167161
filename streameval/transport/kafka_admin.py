"""Questions and orders to the cluster itself: which partitions and ids a topic has, its limits, its creation.

Invariant: a topic is known by its id (KIP-516), not by its name: one that was deleted and made again has new offsets,
and reading on at the old ones would skip events without a word. The id is compared at every look.

Source: KIP-516 (topic ids); kafka-python 3.0.12, whose admin client answers from any broker and therefore may lag a
commit by a moment: nothing here decides what was committed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import kafka.errors as kafka_errors
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.protocol.consumer import IsolationLevel, OffsetSpec
from kafka.structs import OffsetAndMetadata

from streameval.errors import TopicError
from streameval.transport.kafka_connection import Connection
from streameval.transport.kafka_faults import UNREADY, explained, explaining
from streameval.transport.protocol import Place

COMPACTED: Final = {"cleanup.policy": "compact"}
KEPT: Final = {"cleanup.policy": "delete"}
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as the cluster describes it: its id and its partitions, ascending."""

    name: str
    id: str
    partitions: tuple[int, ...]


class Cluster:
    """The admin client, opened at the first question and kept.

    Args:
        connection: the cluster and how to reach it.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._client: KafkaAdminClient | None = None

    def _open(self) -> KafkaAdminClient:
        if self._client is None:
            with explaining(self.connection, doing="connecting"):
                self._client = KafkaAdminClient(**self.connection.options())
        return self._client

    def close(self) -> None:
        """Closes the connection; a later question opens it anew."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _ask(self, question: str, *arguments: Any, doing: str, where: str = "", **options: Any) -> Any:
        # A broker that just went away fails one question; the next goes to another broker.
        deadline = time.monotonic() + self.connection.patience_ms / 1000
        pause = 0.1
        while True:
            client = self._open()
            try:
                return getattr(client, question)(*arguments, **options)
            except (*UNREADY, kafka_errors.KafkaConnectionError, OSError) as error:
                if isinstance(error, kafka_errors.UnknownTopicOrPartitionError) or time.monotonic() > deadline:
                    raise explained(error, self.connection, doing=doing, where=where) from error
                time.sleep(pause)
                pause = min(2 * pause, 2.0)
            except kafka_errors.KafkaError as error:
                raise explained(error, self.connection, doing=doing, where=where) from error

    def describe(self, topics: Iterable[str]) -> dict[str, Topic]:
        """The topics that exist among ``topics``, by name.

        Raises:
            TopicError: we may not see one of them.
            ConnectionFailedError: no broker answered.
        """
        names = sorted(set(topics))
        if not names:
            return {}
        found: dict[str, Topic] = {}
        for row in self._ask("describe_topics", names, doing="describing topics", where=", ".join(names)):
            code = row["error_code"]
            if code == kafka_errors.NoError.errno or row["partitions"]:
                partitions = tuple(sorted(p["partition_index"] for p in row["partitions"]))
                found[row["name"]] = Topic(row["name"], str(row["topic_id"]), partitions)
            elif code not in (
                kafka_errors.UnknownTopicOrPartitionError.errno,
                kafka_errors.LeaderNotAvailableError.errno,
            ):
                error = kafka_errors.for_code(code)(row["name"])
                raise explained(error, self.connection, doing="describing it", where=f"topic {row['name']}")
        return found

    def require(self, topics: Iterable[str]) -> dict[str, Topic]:
        """As :meth:`describe`, and every one must exist.

        Raises:
            TopicError: some are missing; the message lists them all.
        """
        wanted = sorted(set(topics))
        found = self.describe(wanted)
        missing = [name for name in wanted if name not in found]
        if missing:
            raise TopicError(
                f"missing on the cluster: {', '.join(missing)}",
                where="topics",
                cure="create them, correct their names, or set transport.create_topics for those that we write",
            )
        return found

    def create(self, topics: Mapping[str, Mapping[str, str]]) -> list[str]:
        """Makes those of ``topics`` (name -> settings) that do not exist; returns the names that were made.

        One partition each unless the settings say otherwise by the pseudo-setting ``partitions``; replicas by the
        cluster's default.

        Raises:
            TopicError: we may not create topics, or a setting is refused.
        """
        missing = sorted(set(topics) - set(self.describe(topics)))
        if not missing:
            return []
        orders = {}
        for name in missing:
            settings = dict(topics[name])
            orders[name] = {"num_partitions": int(settings.pop("partitions", "1")), "configs": settings}
        where = f"topics {', '.join(missing)}"
        doing = "creating output topics"
        answer = self._ask("create_topics", orders, doing=doing, where=where, raise_errors=False)
        for row in (answer if isinstance(answer, dict) else answer.to_dict())["topics"]:
            # Another worker may have made it in between, which is as good.
            if row["error_code"] not in (kafka_errors.NoError.errno, kafka_errors.TopicAlreadyExistsError.errno):
                error = kafka_errors.for_code(row["error_code"])(row["name"])
                raise explained(error, self.connection, doing=doing, where=f"topic {row['name']}")
        self._ask("wait_for_topics", missing, doing=doing, where=where)
        return missing

    def _offsets(
        self,
        partitions: Iterable[Place],
        spec: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    ) -> dict[Place, int]:
        wanted = [TopicPartition(*place) for place in partitions]
        if not wanted:
            return {}
        found = self._ask(
            "list_partition_offsets",
            dict.fromkeys(wanted, spec),
            doing="reading offsets",
            where=", ".join(sorted({tp.topic for tp in wanted})),
            isolation_level=isolation,
        )
        return {(tp.topic, tp.partition): found[tp].offset for tp in wanted}

    def ends(self, partitions: Iterable[Place]) -> dict[Place, int]:
        """High watermarks.

        Not the last stable offset: events behind an open transaction are still to come.
        """
        return self._offsets(partitions, OffsetSpec.LATEST)

    def stable(self, partitions: Iterable[Place]) -> dict[Place, int]:
        """Last stable offsets: how far committed readers come."""
        return self._offsets(partitions, OffsetSpec.LATEST, IsolationLevel.READ_COMMITTED)

    def bounds(self, partitions: Iterable[Place]) -> dict[Place, tuple[int, int]]:
        """First offset kept, and high watermark."""
        places = list(partitions)
        begins, ends = self._offsets(places, OffsetSpec.EARLIEST), self.ends(places)
        return {place: (begins[place], ends[place]) for place in places}

    def commit_group(self, group: str, positions: Mapping[Place, int]) -> None:
        """Writes group offsets, for lag tools; the group must have no members.

        Raises:
            TopicError: no permission on the group.
            TransportError: the broker refused an offset.
        """
        offsets = {TopicPartition(*tp): OffsetAndMetadata(offset, "", -1) for tp, offset in positions.items()}
        if not offsets:
            return
        doing = "committing group offsets"
        answer = self._ask("alter_group_offsets", group, offsets, doing=doing, where=f"group {group}")
        for tp, kind in answer.items():
            if kind is not kafka_errors.NoError:
                raise explained(kind(), self.connection, doing=doing, where=f"group {group}, {tp.topic}/{tp.partition}")

    def settings(self, topics: Iterable[str]) -> dict[str, dict[str, str]]:
        """The settings in force of topics (``max.message.bytes``, ``cleanup.policy``, ...), by topic.

        Raises:
            TopicError: we may not read a topic's settings.
        """
        names = sorted(set(topics))
        if not names:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        answer = self._ask(
            "describe_configs", resources, doing="reading topic settings", where=", ".join(names), config_filter="all"
        )
        found = answer.get("topic", {})
        return {name: {key: str(value["value"]) for key, value in found.get(name, {}).items()} for name in names}

    def shortcomings(self, topics: Mapping[str, Mapping[str, str]], *, largest: int) -> list[str]:
        """What is wrong with existing topics that we write, one line each, for ``check``.

        Args:
            topics: name -> settings wanted, as for :meth:`create`.
            largest: bytes of the largest record that we write.
        """
        lines = []
        for name, settings in self.settings(self.describe(topics)).items():
            if not settings:  # kafka-python passes over the refusal in the answer
                lines.append(f"{name}: its settings cannot be read: grant DescribeConfigs on the topic")
                continue
            limit = int(settings["max.message.bytes"])
            if limit < largest:
                lines.append(f"{name}: max.message.bytes is {limit}, records may have {largest}: raise it")
            wanted = topics[name].get("cleanup.policy")
            if wanted == "compact" and "compact" not in settings.get("cleanup.policy", ""):
                lines.append(f"{name}: cleanup.policy is {settings.get('cleanup.policy')}: set compact")
            if wanted == "delete" and "compact" in settings.get("cleanup.policy", ""):
                lines.append(f"{name}: cleanup.policy is compact, which would lose records: set delete")
        return lines


def compacted(settings: Mapping[str, str]) -> bool:
    """Whether a topic of these settings is compacted alone: its records are not removed for their age."""
    return settings.get("cleanup.policy", "") == "compact"


def same_topics(known: Mapping[str, str], now: Mapping[str, Topic]) -> None:
    """Checks that topics are still the ones that were read before.

    Args:
        known: topic -> id, of the checkpoint or the last look.
        now: topics as they are described now; a topic that is gone counts as changed.

    Raises:
        TopicError: one was deleted, or deleted and made again.
    """
    for name, before in sorted(known.items()):
        if name not in now:
            raise TopicError(
                f"it was deleted (its id was {before})",
                where=f"topic {name}",
                cure="restore it, or start anew with an empty state directory and --fresh",
            )
        if before and now[name].id != before:
            raise TopicError(
                f"it was deleted and made again: its id was {before} and is {now[name].id}, so the positions kept "
                "do not belong to it",
                where=f"topic {name}",
                cure="start anew with an empty state directory and --fresh; nothing was skipped so far",
            )
